//! House tasks, run as `cargo xtask NAME`.

use std::process::ExitCode;

mod codegen;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let result = match task.as_str() {
        "codegen" => codegen::write(),
        _ => Err("usage: cargo xtask codegen".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
