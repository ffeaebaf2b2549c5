//! Compares durations fairly: the actions take turns, so that other load on the machine affects all of them
//! alike.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

/// A measured action: its name, and what runs; the argument is the number of the round.
pub type Action<'a> = (&'a str, Box<dyn FnMut(usize) + 'a>);

/// Asserts that the medians of `tries` durations of each action differ by less than two milliseconds.
///
/// The medians are those of the durations or, on a busy machine, those of each duration's difference from the
/// mean of its round; one of the two is enough. `before` runs before each try and is not measured. More tries
/// reduce a random difference but not a real one, so `tries` more are added twice before the assertion fails.
#[expect(clippy::print_stdout, reason = "figures of a test")]
pub fn assert_same_median(
    what: &str,
    tries: usize,
    before: &mut dyn FnMut(),
    actions: &mut [Action<'_>],
) {
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    let mut spreads = (0.0, 0.0);
    for total in [tries, 2 * tries, 3 * tries] {
        rounds.extend((rounds.len()..total).map(|number| round(number, before, actions)));
        let medians = |value: &dyn Fn(&[f64], usize) -> f64| -> Vec<f64> {
            let median = |index| {
                let mut all: Vec<f64> = rounds.iter().map(|round| value(round, index)).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            (0..actions.len()).map(median).collect()
        };
        let durations = medians(&|round, index| round[index]);
        let mean = |round: &[f64]| round.iter().sum::<f64>() / round.len() as f64;
        let differences = medians(&|round, index| round[index] - mean(round));
        spreads = (spread(&durations), spread(&differences));
        let named: Vec<String> = actions
            .iter()
            .zip(&durations)
            .map(|((name, _), duration)| format!("{name} {duration:.2}"))
            .collect();
        println!(
            "{what}, {total} tries each, medians in ms: {}; they differ by {:.2} (within a round by {:.2})",
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

/// Runs each action once and returns milliseconds. The order is shuffled in each round: in a fixed order, an
/// action would always use the same one of the two hashing threads, or always follow the same other action.
fn round(number: usize, before: &mut dyn FnMut(), actions: &mut [Action<'_>]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..actions.len()).collect();
    order.sort_by_cached_key(|index| {
        let mut hasher = DefaultHasher::new();
        (number, *index).hash(&mut hasher);
        hasher.finish()
    });
    let mut took = vec![0.0; actions.len()];
    for index in order {
        before();
        let began = Instant::now();
        (actions[index].1)(number);
        took[index] = began.elapsed().as_secs_f64() * 1000.0;
    }
    took
}

fn spread(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    most - values.iter().copied().fold(f64::MAX, f64::min)
}
