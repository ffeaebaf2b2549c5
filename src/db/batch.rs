//! Statements that take the first rows of a table in batches, and go on behind a row that makes its statement
//! fail, for example because of a trigger or a constraint that a DBA added. Otherwise that row, being the first
//! one each time, would block all rows behind it.

use super::is_unavailable;

/// The most rows that are skipped. If more fail, the statement itself is wrong.
const MAX_SKIPPED: i64 = 100;

/// Which rows the next statement takes: its LIMIT and OFFSET.
///
/// After a failure the batch is halved until it is the one row that fails. That row is skipped, and the batches
/// grow again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    full: i64,
    limit: i64,
    skipped: i64,
}

impl Batch {
    /// Batches of up to `full` rows.
    pub fn of(full: i64) -> Self {
        Self { full, limit: full, skipped: 0 }
    }

    /// The size of a batch when nothing has failed.
    pub fn full(&self) -> i64 {
        self.full
    }

    /// The same rows, `limit` of them at most.
    pub fn at_most(&self, limit: i64) -> Self {
        Self { limit: self.limit.min(limit), ..*self }
    }

    /// How many rows the statement takes at most.
    pub fn limit(&self) -> i64 {
        self.limit
    }

    /// How many rows it leaves out: those that failed, which are the first ones.
    pub fn skipped(&self) -> i64 {
        self.skipped
    }

    /// The statement took `rows` rows. Whether there may be more of them.
    pub fn grow(&mut self, rows: u64) -> bool {
        let was_full = rows >= self.limit as u64;
        self.limit = (self.limit * 2).min(self.full);
        was_full
    }

    /// The statement failed with `error`. Whether to run it again with the batch as it is now; otherwise the error
    /// is not about a row.
    pub fn shrink(&mut self, error: &sqlx::Error) -> bool {
        if is_unavailable(error) || self.skipped == MAX_SKIPPED {
            return false;
        }
        if self.limit > 1 {
            self.limit /= 2;
        } else {
            self.skipped += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes rows in batches of up to `full`; those in `bad` make a statement fail. Returns the rows that were
    /// taken and how many statements that took.
    fn taken(rows: &[i64], bad: &[i64], full: i64) -> (Vec<i64>, usize) {
        let mut left = rows.to_vec();
        let (mut done, mut statements) = (Vec::new(), 0);
        let mut batch = Batch::of(full);
        loop {
            statements += 1;
            let from = batch.skipped() as usize;
            let rows: Vec<i64> =
                left.iter().skip(from).take(batch.limit() as usize).copied().collect();
            if rows.iter().any(|row| bad.contains(row)) {
                assert!(batch.shrink(&sqlx::Error::RowNotFound));
                continue;
            }
            left.retain(|row| !rows.contains(row));
            done.extend(&rows);
            if !batch.grow(rows.len() as u64) {
                return (done, statements);
            }
        }
    }

    #[test]
    fn every_row_but_the_failing_ones_is_taken() {
        let rows: Vec<i64> = (0..2_500).collect();
        for bad in [&[][..], &[0], &[2_499], &[0, 1, 2], &[7, 900, 901, 1_700]] {
            let (mut done, statements) = taken(&rows, bad, 1_000);
            done.sort_unstable();
            let expected: Vec<i64> =
                rows.iter().copied().filter(|row| !bad.contains(row)).collect();
            assert_eq!(done, expected, "{bad:?}");
            assert!(statements < 5 + 30 * (bad.len() + 1), "{bad:?}: {statements} statements");
        }
    }

    #[test]
    fn an_error_of_the_connection_or_of_every_row_is_not_about_a_row() {
        let mut batch = Batch::of(8);
        assert!(!batch.shrink(&sqlx::Error::PoolTimedOut));
        assert_eq!(batch, Batch::of(8));
        let mut failures = 0;
        while batch.shrink(&sqlx::Error::RowNotFound) {
            failures += 1;
        }
        assert_eq!(failures, 3 + MAX_SKIPPED);
    }
}
