//! The rate of the password hash alone: argon2id with Frontdesk's default parameters on every core for the
//! given number of seconds. Each thread reuses its memory. Prints one line of JSON.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use argon2::{Algorithm, Argon2, Block, Params, Version};

frontdesk::use_mimalloc!();

fn main() -> anyhow::Result<()> {
    let seconds: f64 = std::env::args().nth(1).context("how many seconds?")?.parse()?;
    let threads = std::thread::available_parallelism()?.get();
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let running: Vec<_> = (0..threads).map(|_| std::thread::spawn(move || hash(until))).collect();
    let mut rate = 0.0;
    for thread in running {
        rate += thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    writeln!(std::io::stdout(), r#"{{"threads":{threads},"rate":{rate}}}"#)?;
    Ok(())
}

/// Hashes until `until`; returns hashes per second.
fn hash(until: Instant) -> anyhow::Result<f64> {
    let (memory_kib, iterations, lanes) = (19_456, 2, 1);
    let params = Params::new(memory_kib, iterations, lanes, Some(32))
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    let mut memory = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let began = Instant::now();
    let mut count = 0.0;
    while Instant::now() < until {
        let mut output = [0; 32];
        argon2
            .hash_password_into_with_memory(
                b"quiet corner with a lamp",
                &[7; 16],
                &mut output,
                &mut memory,
            )
            .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        count += 1.0;
    }
    Ok(count / began.elapsed().as_secs_f64())
}
