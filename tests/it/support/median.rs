//! How long things take, compared fairly: in turns, so that what the machine does besides hits all of them alike.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// What is measured: its name, and what to do.
pub type Act<'a> = (&'a str, Box<dyn FnMut(usize) + 'a>);

/// The median time of each of `acts`, tried `tries` times in turns. Each is given the number of its try.
pub fn medians<'a>(tries: usize, acts: &mut [Act<'a>]) -> Vec<(&'a str, Duration)> {
    let mut took: Vec<Vec<Duration>> = acts.iter().map(|_| Vec::with_capacity(tries)).collect();
    for number in 0..tries {
        // Shuffled each time: in turns, one of them would always meet the same of the two hashing threads, or always
        // follow the same other.
        let mut order: Vec<usize> = (0..acts.len()).collect();
        order.sort_by_cached_key(|which| {
            let mut hasher = DefaultHasher::new();
            (number, *which).hash(&mut hasher);
            hasher.finish()
        });
        for which in order {
            let began = Instant::now();
            (acts[which].1)(number);
            took[which].push(began.elapsed());
        }
    }
    let medians = acts.iter().zip(&mut took).map(|((name, _), took)| {
        took.sort();
        (*name, took[took.len() / 2])
    });
    medians.collect()
}

/// Claims that the medians of `acts` differ by less than two milliseconds. A machine that is busy with something else is
/// given three chances.
#[expect(clippy::print_stdout, reason = "figures of a test")]
pub fn take_the_same_time<'a>(what: &str, acts: &mut [Act<'a>]) {
    let mut spread = Duration::MAX;
    for chance in 1..=3 {
        let medians = medians(400, acts);
        let times = medians.iter().map(|(_, took)| *took);
        spread = times.clone().max().unwrap() - times.min().unwrap();
        println!("{what}, 400 tries each (chance {chance}): {medians:?}; spread {spread:?}");
        if spread < Duration::from_millis(2) {
            return;
        }
    }
    panic!("{what}: the medians differ by {spread:?}");
}
