//! `mirrord completions`: a script with which a shell completes commands and options.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::print::write_stdout;

/// Print a script with which a shell completes commands and options of mirrord
///
/// It goes to stdout, and a line in the shell's own start-up file reads it. For bash,
/// with `source ~/.mirrord.bash` in ~/.bashrc:
///
///     mirrord completions bash > ~/.mirrord.bash
///
/// Neither the daemon nor a home directory is needed for it.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints the script; `program` is the definition of all commands.
    pub(crate) fn execute(&self, mut program: clap::Command) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "mirrord", &mut script);
        write_stdout(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
