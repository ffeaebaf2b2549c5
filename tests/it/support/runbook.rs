//! The procedures of `docs/RUNBOOK.md`, so that tests run their commands as they are written.

use std::path::Path;
use std::process::{Command, Output};

/// A numbered step of a chapter.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// From one.
    pub number: usize,
    /// The lines of its `sh` block.
    pub commands: String,
}

/// The steps of the chapter `## title`, in order. A step is a line that begins with its number (`1. `) and has
/// one indented block ```` ```sh ````. Every step has one, and they are numbered from one without a gap.
pub fn steps(title: &str) -> Vec<Step> {
    let text = std::fs::read_to_string("docs/RUNBOOK.md").expect("the runbook");
    let steps = parse(&text, title);
    assert!(!steps.is_empty(), "the runbook has no steps in a chapter “{title}”");
    steps
}

impl Step {
    /// Runs the commands with `sh -eu` in `folder`. `frontdesk` is the binary under test. `environment` holds
    /// the settings, and the shell variables that the chapter asks the operator to set.
    pub fn run(&self, folder: &Path, environment: &[(&str, &str)]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let binary = Path::new(env!("CARGO_BIN_EXE_frontdesk")).parent().expect("a folder");
        Command::new("sh")
            .args(["-euc", &self.commands])
            .current_dir(folder)
            .env_clear()
            .env("PATH", format!("{}:{path}", binary.display()))
            .envs(environment.iter().copied())
            .output()
            .expect("sh runs")
    }
}

fn parse(text: &str, title: &str) -> Vec<Step> {
    let heading = format!("## {title}");
    let chapter = text.lines().skip_while(|line| *line != heading).skip(1);
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in chapter.take_while(|line| !line.starts_with("## ")) {
        let step = steps.len() + 1;
        if is_inside {
            is_inside = line.trim() != "```";
            if let (true, Some(current)) = (is_inside, steps.last_mut()) {
                current.commands.push_str(line.trim_start());
                current.commands.push('\n');
            }
        } else if line.starts_with(&format!("{step}. ")) {
            let previous = steps.last().is_none_or(|step| !step.commands.is_empty());
            assert!(previous, "{title}: the step before {step} has no commands");
            steps.push(Step { number: step, commands: String::new() });
        } else if line.trim() == "```sh" {
            let current = steps.last().expect("commands belong to a numbered step");
            assert!(current.commands.is_empty(), "{title}: two blocks in one step");
            is_inside = true;
        }
    }
    assert!(steps.last().is_none_or(|step| !step.commands.is_empty()), "the last step is empty");
    steps
}

#[test]
fn the_commands_of_a_chapter_are_read_in_order() {
    let text = "## Other\n\n1. No.\n   ```sh\n   false\n   ```\n\n## Wanted\n\nText.\n\n1. First:\n   ```sh\n   one\n   \
                two\n   ```\n2. Second:\n   ```sh\n   three\n   ```\n\n## Third\n";
    let commands: Vec<_> = parse(text, "Wanted").into_iter().map(|step| step.commands).collect();
    assert_eq!(commands, ["one\ntwo\n", "three\n"]);
}
