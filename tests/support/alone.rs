//! Tests that need a process of their own, for what a process has only one of: its environment, what the platform trusts.

use std::{env, process::Command};

/// Runs so many ignored tests of a module of this binary, in a process of their own that `set` prepares.
pub(crate) fn run(module: &str, tests: usize, set: impl FnOnce(&mut Command)) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", module]);
    set(&mut command);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    // It is a success as well if none is there.
    let all_passed = format!("test result: ok. {tests} passed; 0 failed");
    assert!(
        output.status.success() && told.contains(&all_passed),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
