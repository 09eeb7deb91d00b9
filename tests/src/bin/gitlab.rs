//! Serves the GitLab stand-in for a walk by hand: `cargo run -p tests --bin gitlab -- REPOSITORY…` makes a project
//! `group/NAME` of each and prints its address. It serves until its standard input ends.

use std::{io, path::Path, process::ExitCode};

use tests::GitLab;

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let gitlab = GitLab::http();
    for repository in std::env::args().skip(1) {
        let name = Path::new(&repository)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let project = gitlab.project(&format!("group/{name}"));
        let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        project
            .git(["fetch", "--quiet", &repository])
            .arg(refs[0])
            .arg(refs[1])
            .ok();
        println!(
            "{}  {}",
            gitlab.url(&format!("group/{name}")),
            project.dir().display()
        );
    }
    match io::copy(&mut io::stdin(), &mut io::sink()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
