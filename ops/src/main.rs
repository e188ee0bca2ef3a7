use std::process::ExitCode;

use ops::output::Output;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut output = Output::standard();
    ExitCode::from(ops::run(std::env::args_os(), &mut output).await.code())
}
