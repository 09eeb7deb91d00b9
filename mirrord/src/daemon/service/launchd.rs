//! The service as an agent of launchd, which starts the daemon at login, and again when it has failed. The daemon listens
//! by itself: a socket of launchd's can only be had by `launch_activate_socket`, a C function, and this code has no unsafe.

use std::path::{Path, PathBuf};

use common::protocol::Failure;
use directories::BaseDirs;

use super::{MARK, Setup, State, read, remove, run_manager, write};

/// The name of the agent.
const LABEL: &str = "mirror.mirrord";

/// The agent's property list.
fn agent(setup: &Setup) -> String {
    let environment = setup.environment.iter().map(|(name, value)| {
        format!(
            "\t\t<key>{name}</key>\n\t\t<string>{}</string>\n",
            escaped(&value.to_string_lossy())
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">
<!-- {MARK}, which writes it anew. -->
<plist version=\"1.0\">
<dict>
\t<key>Label</key>
\t<string>{LABEL}</string>
\t<key>ProgramArguments</key>
\t<array>
\t\t<string>{program}</string>
\t\t<string>run</string>
\t\t<string>--service</string>
\t</array>
\t<key>EnvironmentVariables</key>
\t<dict>
{environment}\t</dict>
\t<key>WorkingDirectory</key>
\t<string>/</string>
\t<key>RunAtLoad</key>
\t<true/>
\t<key>KeepAlive</key>
\t<dict>
\t\t<key>SuccessfulExit</key>
\t\t<false/>
\t</dict>
\t<key>ExitTimeOut</key>
\t<integer>60</integer>
\t<key>ProcessType</key>
\t<string>Background</string>
\t<key>Umask</key>
\t<integer>63</integer>
\t<key>SoftResourceLimits</key>
\t<dict>
\t\t<key>Core</key>
\t\t<integer>0</integer>
\t</dict>
</dict>
</plist>
",
        program = escaped(&setup.program.to_string_lossy()),
        environment = environment.collect::<String>(),
    )
}

/// Text, escaped for XML.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// Writes the agent, and has launchd run it.
pub(super) fn install(setup: &Setup) -> Result<bool, Failure> {
    let path = agent_path()?;
    let changed = write(&path, &agent(setup))?;
    let loaded = pid().is_ok();
    if loaded && !changed {
        // The program may have been replaced since the agent was started.
        launchctl(&["kickstart", "-k", &target()])?;
        return Ok(false);
    }
    if loaded {
        launchctl(&["bootout", &target()])?;
    }
    launchctl(&["bootstrap", &domain(), &path.to_string_lossy()])?;
    Ok(true)
}

/// Ends the agent and removes it.
pub(super) fn uninstall() -> Result<bool, Failure> {
    let path = agent_path()?;
    if read(&path)?.is_none() {
        return Ok(false);
    }
    if pid().is_ok() {
        launchctl(&["bootout", &target()])?;
    }
    remove(&path)
}

/// Returns how the agent is.
pub(super) fn state(setup: &Setup) -> Result<State, Failure> {
    let path = agent_path()?;
    let found = read(&path)?;
    let up_to_date = found.as_deref() == Some(&*agent(setup));
    let files: Vec<PathBuf> = found.map(|_| path).into_iter().collect();
    let (pid, failed) = match pid() {
        Ok(pid) => (pid, None),
        Err(message) => (None, (!files.is_empty()).then_some(message)),
    };
    Ok(State {
        manager: "launchd",
        files,
        up_to_date,
        unknown: None,
        listening: false,
        pid,
        failed,
        restarts: 0,
        daemon: None,
    })
}

/// The process of the agent, if it runs.
///
/// # Errors
/// Fails where launchd does not know the agent.
fn pid() -> Result<Option<u32>, String> {
    let output = run_manager("launchctl", ["print", &target()])?;
    let pid = output
        .lines()
        .find_map(|line| line.trim().strip_prefix("pid = "));
    Ok(pid.and_then(|pid| pid.parse().ok()))
}

fn launchctl(args: &[&str]) -> Result<(), Failure> {
    let output = run_manager("launchctl", args);
    output
        .map(drop)
        .map_err(|message| Failure::here(format!("launchd: {message}")))
}

/// The domain of the person's own agents.
fn domain() -> String {
    format!("gui/{}", rustix::process::geteuid().as_raw())
}

fn target() -> String {
    format!("{}/{LABEL}", domain())
}

fn agent_path() -> Result<PathBuf, Failure> {
    let dirs = BaseDirs::new().ok_or_else(|| Failure::here("there is no home directory"))?;
    let agents: &Path = dirs.home_dir();
    Ok(agents.join(format!("Library/LaunchAgents/{LABEL}.plist")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::service::sample;

    #[test]
    fn the_agents_property_list() {
        insta::assert_snapshot!("agent", agent(&sample()));
    }

    #[test]
    fn odd_characters_do_not_end_an_xml_string() {
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
