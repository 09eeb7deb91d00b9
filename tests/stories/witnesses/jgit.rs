//! JGit's `upload-pack` and `receive-pack`, behind an sshd.

use super::{fill, same_as_git};
use crate::push_pair::SIDES;

/// Serves one session.
const SERVER: &str = r#"
import java.io.File;
import org.eclipse.jgit.lib.Repository;
import org.eclipse.jgit.storage.file.FileRepositoryBuilder;
import org.eclipse.jgit.transport.ReceivePack;
import org.eclipse.jgit.transport.UploadPack;

public class Serve {
    public static void main(String[] args) throws Exception {
        Repository repo = new FileRepositoryBuilder().setGitDir(new File(args[1])).setBare().build();
        if (args[0].equals("git-upload-pack")) {
            new UploadPack(repo).upload(System.in, System.out, System.err);
        } else {
            new ReceivePack(repo).receive(System.in, System.out, System.err);
        }
    }
}
"#;

const CLASSES: &str = "/usr/share/java/org.eclipse.jgit.jar:/usr/share/java/slf4j-api.jar";

#[test]
#[cfg_attr(not(all(jgit, sshd)), ignore = "needs jgit and sshd")]
fn what_jgit_serves_is_cloned_fetched_and_pushed_to_as_by_plain_git() {
    let world = tests::World::new();
    let sshd = world.sshd();
    let projects = SIDES.map(|side| sshd.project(&format!("{side}.git")));
    projects.iter().for_each(fill);
    let dir = world.path("jgit");
    let compile = format!(
        "mkdir jgit && cat >jgit/Serve.java && javac -cp {CLASSES} -d jgit jgit/Serve.java"
    );
    world.program("sh", ["-c", &compile]).stdin(SERVER).ok();
    let java = format!("exec java -cp {CLASSES}:'{}' Serve", dir.display());
    sshd.fault(&format!("eval \"{java} $SSH_ORIGINAL_COMMAND\"\n"));
    let addresses = projects.each_ref().map(|project| sshd.url(project));
    same_as_git(&world, &addresses, &projects);
    let commands = sshd.commands();
    assert!(
        commands
            .iter()
            .any(|line| line.starts_with("git-receive-pack"))
    );
}
