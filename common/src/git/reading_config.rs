//! Reads git's configuration where the user stands, while something else is done.

use std::{
    env, io,
    path::Path,
    process::{Child, Stdio},
};

use crate::git::{
    self,
    child_log::ChildLog,
    client_context::{LIST, UserConfig},
};

/// A child of git that reads the configuration. Dropping this ends it.
pub struct ReadingConfig(Option<(Child, ChildLog)>);

impl ReadingConfig {
    /// Begins to read what [`UserConfig::read`] reads.
    ///
    /// # Errors
    /// Fails when git cannot be run.
    pub fn begin() -> io::Result<Self> {
        let mut git = git::of_user();
        git.args(LIST).arg("--includes");
        git.stdout(Stdio::piped()).stderr(Stdio::piped());
        let log = ChildLog::begin(&git);
        Ok(Self(Some((git.spawn()?, log))))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Fails as [`UserConfig::read`] does.
    pub fn finish(mut self) -> io::Result<UserConfig> {
        let (git, log) = self.0.take().ok_or(io::ErrorKind::NotFound)?;
        let output = git.wait_with_output()?;
        log.ended(output.status);
        let mut config = UserConfig::of_output(output)?;
        // git 2.44 opens no repository that a clone has begun: one without HEAD.
        if let Some(git_dir) = env::var_os("GIT_DIR") {
            let (git_dir, file) = (Path::new(&git_dir), Path::new(&git_dir).join("config"));
            if file.is_file() && !git_dir.join("HEAD").exists() {
                config.entries.extend(UserConfig::read_file(&file)?.entries);
            }
        }
        Ok(config)
    }
}

impl Drop for ReadingConfig {
    fn drop(&mut self) {
        if let Some((git, _)) = &mut self.0 {
            let _ = git.kill();
            let _ = git.wait();
        }
    }
}
