//! Two equal projects that are pushed to, one through the mirror and one by git alone: the same words, the same exit
//! code, the same refs upstream and here.

use std::{
    fs,
    path::Path,
    thread::yield_now,
    time::{Duration, Instant},
};

use tests::{GitLab, Project, Ran, Run, World, public_refs, refs};

/// The two clones: through the mirror, and plain.
pub(crate) const SIDES: [&str; 2] = ["ours", "plain"];

/// How long the daemon may take to sweep what a push has left.
pub(crate) const SWEPT: Duration = Duration::from_secs(10);

/// Two equal projects and a clone of each, `ours` through the mirror and `plain` by git alone.
pub(crate) struct Pair {
    pub(crate) world: World,
    /// By side.
    pub(crate) projects: [Project; 2],
    /// By side, without `mirror::`.
    pub(crate) urls: [String; 2],
    /// Where the projects are on the web.
    pub(crate) gitlab: Option<GitLab>,
}

impl Pair {
    /// Tells a story twice: to a GitLab over http, and to repositories on disk.
    pub(crate) fn each(story: impl Fn(&Self)) {
        story(&Self::http());
        story(&Self::file());
    }

    pub(crate) fn http() -> Self {
        Self::over_http(GitLab::project, fill, &[])
    }

    pub(crate) fn file() -> Self {
        let world = World::new();
        let projects = SIDES.map(|side| world.project(&format!("upstream/{side}.git")));
        for project in &projects {
            // As GitLab does.
            project.config("receive.advertisePushOptions", "true");
        }
        let urls = projects.each_ref().map(Project::url);
        Self::new(world, None, projects, urls, fill, &[])
    }

    /// Takes what makes a project, what fills it, and the options of the clones.
    pub(crate) fn over_http(
        make: impl Fn(&GitLab, &str) -> Project,
        fill: impl Fn(&Project),
        options: &[&str],
    ) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let paths = SIDES.map(|side| format!("group/{side}"));
        let projects = paths.each_ref().map(|path| make(&gitlab, path));
        let urls = paths.each_ref().map(|path| gitlab.url(path));
        Self::new(world, Some(gitlab), projects, urls, fill, options)
    }

    fn new(
        world: World,
        gitlab: Option<GitLab>,
        projects: [Project; 2],
        urls: [String; 2],
        fill: impl Fn(&Project),
        options: &[&str],
    ) -> Self {
        projects.iter().for_each(fill);
        let addresses = [format!("mirror::{}", urls[0]), urls[1].clone()];
        for (address, side) in addresses.iter().zip(SIDES) {
            let clone = ["clone", "-q", address, side];
            options.iter().fold(world.git(clone), Run::arg).ok();
        }
        Self {
            world,
            projects,
            urls,
            gitlab,
        }
    }

    /// Does the same to both projects, as somebody else would.
    pub(crate) fn upstream(&self, action: impl Fn(&Project)) {
        self.projects.iter().for_each(action);
    }

    /// Runs git in both clones.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) {
        for side in SIDES {
            self.world.git(args).at(side).ok();
        }
    }

    /// Commits a file in both clones, on the branch that is checked out.
    #[track_caller]
    pub(crate) fn commit(&self, file: &str) {
        let script = r#"echo "$0" >"$0" && git add . && git commit -qm "$0""#;
        for side in SIDES {
            self.world.program("sh", ["-c", script, file]).at(side).ok();
        }
    }

    /// Runs `git push` in both clones; see [`compare`](Self::compare).
    #[track_caller]
    pub(crate) fn push(&self, args: &[&str]) -> Ran {
        let ran = self.run("", &[&["push"], args].concat());
        self.same();
        ran
    }

    /// Pushes, and asserts that it worked.
    #[track_caller]
    pub(crate) fn pushes(&self, args: &[&str]) -> Ran {
        let ran = self.push(args);
        assert!(ran.status.success(), "{ran}");
        ran
    }

    /// Pushes, and asserts that it did not all work, for a reason that is shown.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str], why: &str) -> Ran {
        let ran = self.push(args);
        assert_eq!(ran.status.code(), Some(1), "{ran}");
        let shown = [&ran.stdout, &ran.stderr].map(|text| text.contains(why));
        assert!(shown.contains(&true), "it says '{why}': {ran}");
        ran
    }

    /// Runs git in a directory below both clones.
    #[track_caller]
    pub(crate) fn run(&self, below: &str, args: &[&str]) -> Ran {
        self.compare(|side| self.world.git(args).at(side).at(below))
    }

    /// Runs something on both sides, and asserts that nobody can tell which is which from what it says. Returns ours.
    #[track_caller]
    pub(crate) fn compare(&self, run: impl Fn(&str) -> Run) -> Ran {
        let [ours, plain] = SIDES.map(|side| run(side).run());
        let [told, expected] = [&ours, &plain].map(|ran| {
            [&ran.stdout, &ran.stderr].map(|text| {
                let lines = self.unnamed(text);
                lines.split('\n').map(str::to_owned).collect::<Vec<_>>()
            })
        });
        assert!(
            told == expected && ours.status.code() == plain.status.code(),
            "git says the same through the mirror:\n{ours}\n{plain}"
        );
        ours
    }

    /// Drops from a text the one thing that must differ: the address.
    pub(crate) fn unnamed(&self, text: &str) -> String {
        let text = text.replace("mirror::", "");
        self.urls
            .iter()
            .fold(text, |text, url| text.replace(url.as_str(), "URL"))
    }

    /// Asserts that upstream, the clones and the mirror have become the same, and whole.
    #[track_caller]
    pub(crate) fn same(&self) {
        let [ours, plain] = self.projects.each_ref().map(Project::refs);
        assert_eq!(ours, plain, "upstream has the same refs");
        let [ours_head, plain_head] = self
            .projects
            .each_ref()
            .map(|project| project.git(["symbolic-ref", "HEAD"]).ok().stdout);
        assert_eq!(ours_head, plain_head, "and the same HEAD");
        for project in &self.projects {
            whole(project.git(["fsck", "--full", "--strict", "--no-dangling"]));
        }
        let [cloned, plainly] = SIDES.map(|side| refs(&self.world, &self.world.path(side)));
        assert_eq!(cloned, plainly, "the clones have the same refs");
        mirror_is_upstream(&self.world, &self.projects[0]);
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        whole(self.world.git(fsck).at(self.world.only_mirror()));
        // What any other clone sees now.
        let looks: [&[&str]; 2] = [
            &["ls-remote", "--heads", "--tags"],
            &["ls-remote", "--symref"],
        ];
        for (look, what) in looks.into_iter().zip([None, Some("HEAD")]) {
            let [ours, plain] = &self.urls;
            let listed = [format!("mirror::{ours}"), plain.clone()].map(|address| {
                let args = look.iter().copied().chain([address.as_str()]).chain(what);
                self.world.git(args).ok().stdout
            });
            // Where upstream's HEAD names no branch, the mirror's names another, so that something is checked out.
            if !listed[1].is_empty() {
                assert_eq!(listed[0], listed[1], "another client sees the same");
            }
        }
    }
}

#[track_caller]
fn whole(fsck: Run) {
    let ran = fsck.run();
    assert!(ran.status.success(), "git fsck finds no fault: {ran}");
}

/// Asserts that a mirror has what upstream has, records it, and that nothing of a push is left in it.
#[track_caller]
pub(crate) fn mirror_is_upstream(world: &World, project: &Project) {
    let mirror = world.only_mirror();
    let kept = |name: &str| name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
    let there: Vec<_> = project
        .refs()
        .into_iter()
        .filter(|(name, _)| kept(name))
        .collect();
    let public = public_refs(world, &mirror);
    assert_eq!(public, there, "the mirror has what upstream has");
    let records: Vec<_> = refs(world, &mirror)
        .into_iter()
        .filter(|(name, _)| name.starts_with("refs/upstream/"))
        .map(|(name, oid)| (name.replacen("refs/upstream/", "refs/", 1), oid))
        .collect();
    assert_eq!(records, there, "and its records say so");
    nothing_is_left(&mirror);
}

/// Asserts that pushes and syncs leave nothing in a mirror's object store but packs.
#[track_caller]
pub(crate) fn nothing_is_left(mirror: &Path) {
    let deadline = Instant::now() + SWEPT;
    // The daemon sweeps when it hears that the client has gone, which is no event for anybody else.
    while !quarantines(mirror).is_empty() && Instant::now() < deadline {
        yield_now();
    }
    assert_eq!(quarantines(mirror), [""; 0], "nothing of a push is left");
}

fn quarantines(mirror: &Path) -> Vec<String> {
    let entries = fs::read_dir(mirror.join("objects"))
        .expect("a mirror has one")
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("incoming-")).collect()
}

/// Commits the first history of every project.
pub(crate) fn fill(project: &Project) {
    project.history(4);
    project.commit("topic", "topic", "of somebody");
    project.branch("spare", "topic");
    project.tag("light", "topic");
    project.annotated_tag("v1", "main");
}
