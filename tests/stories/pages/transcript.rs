//! A transcript: a `console` block of a page, with commands and what they print.
//!
//! The server of the pages is `gitlab.example`. Its `group/project` has two commits on `main`. A line with `#` says what
//! happens elsewhere; `…` stands for anything.

use std::{fs, path::PathBuf};

use tests::{GitLab, Project, World};

/// One `console` block.
pub(super) struct Transcript {
    /// The page and the number of the block in it.
    pub(super) title: String,
    steps: Vec<Step>,
}

/// A command, or an event elsewhere, and what is printed then.
struct Step {
    line: String,
    shown: Vec<String>,
}

/// Returns the transcripts of a page.
pub(super) fn all(page: &str, text: &str) -> Vec<Transcript> {
    let blocks = text.split("\n```console\n").skip(1).enumerate();
    let transcripts = blocks.map(|(index, rest)| {
        let title = format!("{page}, transcript {}", index + 1);
        let (block, _) = rest.split_once("\n```\n").expect("a block ends");
        let mut steps: Vec<Step> = Vec::new();
        for line in block.lines() {
            let begins_step = line.starts_with("$ ") || line.starts_with("# ");
            match steps.last_mut() {
                Some(step) if !begins_step => step.shown.push(line.to_owned()),
                None if !begins_step => panic!("{title} begins with a command"),
                _ => steps.push(Step {
                    line: line.to_owned(),
                    shown: Vec::new(),
                }),
            }
        }
        Transcript { title, steps }
    });
    transcripts.collect()
}

impl Transcript {
    /// Whether it is of the service, which systemd starts.
    pub(super) fn needs_systemd(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.line.contains("mirrord service install"))
    }

    /// Does what it shows in a world of its own, and compares what is printed.
    pub(super) fn replay(&self, world: &World) {
        let server = Server::new(world);
        let mut dir = PathBuf::new();
        for Step { line, shown } in &self.steps {
            let Some(command) = line.strip_prefix("$ ") else {
                server.elsewhere(world, &self.title, line);
                continue;
            };
            if let Some(below) = command.strip_prefix("cd ") {
                dir.push(below);
                continue;
            }
            let typed = format!("{} 2>&1", server.real(command));
            let shell = world.program("sh", ["-c", &typed]).at(&dir);
            let ran = shell.env("LC_ALL", "C.UTF-8").run();
            let printed: Vec<_> = ran.stdout.lines().map(|it| server.example(it)).collect();
            let is_same = printed.len() == shown.len()
                && printed
                    .iter()
                    .zip(shown)
                    .all(|(printed, shown)| fits(&server.example(shown), printed));
            assert!(
                is_same,
                "{} shows for '{command}':\n{}\nbut it prints:\n{}",
                self.title,
                shown.join("\n"),
                printed.join("\n")
            );
        }
    }
}

/// The server that the pages call `gitlab.example`; a real one has a port.
struct Server {
    gitlab: GitLab,
    project: Project,
}

impl Server {
    fn new(world: &World) -> Self {
        let gitlab = world.gitlab_tls();
        world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
        let project = gitlab.project("group/project");
        project.commit("main", "file", "first");
        project.commit("main", "file", "second");
        Self { gitlab, project }
    }

    /// Does what happens elsewhere.
    fn elsewhere(&self, world: &World, title: &str, event: &str) {
        match event {
            "# Somebody pushes to main on GitLab." => {
                self.project.commit("main", "file", event);
            }
            "# GitLab is down." => self.gitlab.stop(),
            "# GitLab is back." => self.gitlab.start(),
            "# Only 'me' may read the project, with the token that is in the file 'token'." => {
                let token = "glpat-of-the-page";
                self.gitlab.require_login("group/project", "me", token);
                fs::write(world.path("token"), token).expect("the world is ours");
            }
            _ => panic!("{title}: nobody knows what to do for '{event}'"),
        }
    }

    /// Returns a command with the address of the server in URLs, and its name in names of mirrors.
    fn real(&self, command: &str) -> String {
        let address = self.gitlab.host();
        let name = self.name();
        command
            .replace("://gitlab.example", &format!("://{address}"))
            .replace("gitlab.example", &name)
    }

    /// Returns a printed line as a page has it. The server is on this machine: what else has the address of that is
    /// changed as well, in pages too.
    fn example(&self, line: &str) -> String {
        let address = self.gitlab.host();
        let host = address.split(':').next().expect("there is a host");
        // git fills up what upstream says with blanks, to wipe what was there before.
        line.trim_end()
            .replace(&address, "gitlab.example")
            .replace(&self.name(), "gitlab.example")
            .replace(host, "gitlab.example")
    }

    /// The host in the name of a mirror of a URL.
    fn name(&self) -> String {
        self.gitlab.host().replace(':', "+")
    }
}

/// Whether a line is what a page shows; `…` stands for anything.
fn fits(shown: &str, printed: &str) -> bool {
    let Some((before, mut shown)) = shown.split_once('…') else {
        return shown == printed;
    };
    let Some(mut printed) = printed.strip_prefix(before) else {
        return false;
    };
    while let Some((part, rest)) = shown.split_once('…') {
        let Some((_, after)) = printed.split_once(part) else {
            return false;
        };
        (shown, printed) = (rest, after);
    }
    printed.ends_with(shown)
}
