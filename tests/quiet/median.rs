//! How long things take, compared fairly: in turns, so that what the machine does besides hits all of them alike.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

/// What is measured: its name, and what to do.
pub type Act<'a> = (&'a str, Box<dyn FnMut(usize) + 'a>);

/// Claims that the medians of `tries` of each of `acts` differ by less than two milliseconds: of the times, or, on a machine
/// that is busy with something else, of what each differs from the mean of its own round. `before` each is not counted. A
/// median that is off by chance comes nearer with more tries, one that is off by nature does not: twice as many are added
/// before the claim has failed.
#[expect(clippy::print_stdout, reason = "figures of a test")]
pub fn take_the_same_time(
    what: &str,
    tries: usize,
    before: &mut dyn FnMut(),
    acts: &mut [Act<'_>],
) {
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    let mut spreads = (0.0, 0.0);
    for enough in [tries, 2 * tries, 3 * tries] {
        rounds.extend((rounds.len()..enough).map(|number| round(number, before, acts)));
        let medians = |of: &dyn Fn(&[f64], usize) -> f64| -> Vec<f64> {
            let median = |which| {
                let mut all: Vec<f64> = rounds.iter().map(|round| of(round, which)).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            (0..acts.len()).map(median).collect()
        };
        let times = medians(&|round, which| round[which]);
        let mean = |round: &[f64]| round.iter().sum::<f64>() / round.len() as f64;
        let differences = medians(&|round, which| round[which] - mean(round));
        spreads = (spread(&times), spread(&differences));
        let named: Vec<String> =
            acts.iter().zip(&times).map(|((name, _), time)| format!("{name} {time:.2}")).collect();
        println!(
            "{what}, {enough} tries each, medians in ms: {}; they differ by {:.2} (within a round by {:.2})",
            named.join(", "),
            spreads.0,
            spreads.1
        );
        if spreads.0.min(spreads.1) < 2.0 {
            return;
        }
    }
    panic!("{what}: the medians differ by {spreads:?} ms");
}

/// One try of each, in an order of its own: in turns, one of them would always meet the same of the two hashing threads, or
/// always follow the same other. Milliseconds.
fn round(number: usize, before: &mut dyn FnMut(), acts: &mut [Act<'_>]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..acts.len()).collect();
    order.sort_by_cached_key(|which| {
        let mut hasher = DefaultHasher::new();
        (number, *which).hash(&mut hasher);
        hasher.finish()
    });
    let mut took = vec![0.0; acts.len()];
    for which in order {
        before();
        let began = Instant::now();
        (acts[which].1)(number);
        took[which] = began.elapsed().as_secs_f64() * 1000.0;
    }
    took
}

fn spread(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    most - values.iter().copied().fold(f64::MAX, f64::min)
}
