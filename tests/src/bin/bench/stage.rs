//! What the work is done with: a world with the daemon, an upstream behind a slow line, and repositories on it.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use tests::{GitLab, Project, World};

use crate::{
    interrupt,
    link::Link,
    repositories::{self, Kind, Source, done, git},
};

/// How long what is not measured may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A daemon, an upstream, and the line between them.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) gitlab: GitLab,
    pub(crate) link: Link,
}

impl Stage {
    /// Builds the programs if need be, and starts the upstream.
    pub(crate) fn new() -> io::Result<Self> {
        let world = World::new();
        interrupt::also_remove(world.root());
        let gitlab = world.gitlab();
        interrupt::also_remove(gitlab.dir());
        let link = Link::to(&gitlab.host())?;
        // Nothing is to begin by itself while something is measured.
        let stage = Self {
            world,
            gitlab,
            link,
        };
        stage.mirrord(&["config", "every", "never"]);
        Ok(stage)
    }

    /// Returns the address of a project at the far end of the line.
    pub(crate) fn url(&self, project: &str) -> String {
        format!("http://{}/{project}.git", self.link.address())
    }

    /// Runs our own program, which must succeed.
    #[track_caller]
    pub(crate) fn mirrord(&self, args: &[&str]) {
        self.world.mirrord(args).within(PATIENCE).ok();
    }

    /// Runs git in the world, as the person would; it must succeed.
    #[track_caller]
    pub(crate) fn git(&self, dir: &Path, args: &[&str]) {
        self.world.git(args).at(dir).within(PATIENCE).ok();
    }

    /// Has all that was written reach the disk, so that nobody waits for what others wrote.
    pub(crate) fn flush(&self) {
        if let Ok(root) = fs::File::open(self.world.root()) {
            let _ = rustix::fs::syncfs(root);
        }
    }
}

/// A repository that work is done on.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) upstream: Project,
    /// Its address at the far end of the line.
    pub(crate) url: String,
    /// How often upstream has moved.
    moved: Cell<usize>,
    /// The mirrors of it that there are.
    mirrors: RefCell<HashSet<String>>,
}

impl Subject {
    /// Puts a repository upstream; made ones are kept for the next run.
    pub(crate) fn new(stage: &Stage, source: &Source, kept: &Path) -> io::Result<Self> {
        let name = source.name();
        let path = format!("group/{name}");
        if stage.gitlab.dir().join(format!("{path}.git")).exists() {
            let twice = format!("two repositories are called '{name}'");
            return Err(io::Error::other(twice));
        }
        let upstream = stage.gitlab.project(&path);
        source.fill(&upstream, kept)?;
        Ok(Self {
            kind: repositories::kind(upstream.dir())?,
            url: stage.url(&path),
            name,
            upstream,
            moved: Cell::default(),
            mirrors: RefCell::default(),
        })
    }

    /// Returns its `file://` address.
    pub(crate) fn file_url(&self) -> String {
        self.upstream.url()
    }

    /// Returns the commit that HEAD names.
    #[track_caller]
    pub(crate) fn tip(&self) -> String {
        let parsed = self.upstream.git(["rev-parse", "HEAD"]).ok();
        parsed.line().to_owned()
    }

    /// Returns the branch that HEAD names, in short.
    #[track_caller]
    pub(crate) fn branch(&self) -> String {
        let named = self.upstream.git(["symbolic-ref", "--short", "HEAD"]).ok();
        named.line().to_owned()
    }

    /// Adds commits upstream.
    pub(crate) fn advance(&self, commits: usize) -> io::Result<()> {
        self.moved.set(self.moved.get() + 1);
        repositories::advance(&self.upstream, commits, self.moved.get())
    }

    /// Returns another address of the same repository, for a mirror of its own.
    pub(crate) fn alias(&self, stage: &Stage, of_what: &str) -> io::Result<String> {
        let path = format!("{of_what}/{}", self.name);
        let place = stage.gitlab.dir().join(format!("{path}.git"));
        if !place.exists() {
            fs::create_dir_all(stage.gitlab.dir().join(of_what))?;
            symlink(self.upstream.dir(), &place)?;
        }
        Ok(stage.url(&path))
    }

    /// Makes a mirror with a name, if there is none, and brings it in step.
    pub(crate) fn in_step(&self, stage: &Stage, name: &str, url: &str, settings: &[&str]) {
        if self.mirrors.borrow_mut().insert(name.to_owned()) {
            let add = ["add", name, url, "--quiet", "--no-test"];
            stage.mirrord(&[&add, settings].concat());
        } else {
            stage.mirrord(&["sync", name, "--quiet"]);
        }
    }

    /// Makes the mirror of its own address, if there is none, and brings it in step.
    pub(crate) fn warm(&self, stage: &Stage) {
        self.in_step(stage, &self.name, &self.url, &[]);
    }

    /// Removes a mirror, if there is one that a clone or a command may have made.
    pub(crate) fn forget(&self, stage: &Stage, name: &str) {
        let remove = ["remove", name, "--force"];
        // Nobody has made it yet.
        let _ = stage.world.mirrord(remove).within(PATIENCE).run();
        self.mirrors.borrow_mut().remove(name);
    }

    /// Returns a clone without a working tree that fetches from an address: made by the quickest way if there is none,
    /// and not brought in step.
    pub(crate) fn client(&self, stage: &Stage, name: &str, url: &str) -> io::Result<PathBuf> {
        let place = stage
            .world
            .path("clients")
            .join(format!("{}-{name}", self.name));
        if !place.exists() {
            fs::create_dir_all(stage.world.path("clients"))?;
            let mut clone = git(self.upstream.dir(), ["clone", "-qn", "--local"]);
            done(clone.arg(self.upstream.dir()).arg(&place))?;
            done(&mut git(&place, ["remote", "set-url", "origin", url]))?;
            without_shortcuts(&place)?;
        }
        Ok(place)
    }

    /// Returns a clone of depth 1 without a working tree that talks to an address, and makes it if there is none.
    pub(crate) fn shallow_client(
        &self,
        stage: &Stage,
        name: &str,
        url: &str,
    ) -> io::Result<PathBuf> {
        let place = stage
            .world
            .path("clients")
            .join(format!("{}-{name}", self.name));
        if !place.exists() {
            fs::create_dir_all(stage.world.path("clients"))?;
            let mut clone = git(self.upstream.dir(), ["clone", "-qn", "--depth=1"]);
            done(clone.arg(self.file_url()).arg(&place))?;
            done(&mut git(&place, ["remote", "set-url", "origin", url]))?;
        }
        Ok(place)
    }

    /// Returns a bare copy of upstream as it is at the first call, for clones that borrow from it.
    pub(crate) fn reference(&self, stage: &Stage) -> io::Result<PathBuf> {
        let place = stage.world.path(format!("{}-reference.git", self.name));
        if !place.exists() {
            let mut clone = git(self.upstream.dir(), ["clone", "-q", "--mirror", "--local"]);
            done(clone.arg(self.upstream.dir()).arg(&place))?;
        }
        Ok(place)
    }
}

/// Removes what a clone by path has of the server's, and no other clone has.
fn without_shortcuts(clone: &Path) -> io::Result<()> {
    let objects = clone.join(".git/objects");
    let graph = objects.join("info/commit-graph");
    if graph.exists() {
        fs::remove_file(graph)?;
    }
    for pack in fs::read_dir(objects.join("pack"))? {
        let pack = pack?.path();
        if pack.extension().is_some_and(|kind| kind == "bitmap") {
            fs::remove_file(pack)?;
        }
    }
    Ok(())
}
