//! The web server of dulwich, which speaks the old protocol.

use tests::{Project, World};

use super::{fill, same_as_git};
use crate::push_pair::SIDES;

/// Serves the repositories that it is given: for each a name and its path.
const SERVER: &str = r#"
import sys
from wsgiref.simple_server import make_server
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import WSGIRequestHandlerLogger, WSGIServerLogger, make_wsgi_chain

repositories = zip(sys.argv[1::2], sys.argv[2::2])
app = make_wsgi_chain(DictBackend({"/" + name: Repo(path) for name, path in repositories}))
server = make_server("127.0.0.1", 0, app, handler_class=WSGIRequestHandlerLogger, server_class=WSGIServerLogger)
print("listens at", server.server_port, flush=True)
server.serve_forever()
"#;

#[test]
#[cfg_attr(not(dulwich), ignore = "needs dulwich")]
fn what_dulwich_serves_is_cloned_fetched_and_pushed_to_as_by_plain_git() {
    let world = World::new();
    let projects = SIDES.map(|side| Project::new(world.path(format!("up/{side}.git"))));
    projects.iter().for_each(fill);
    let mut server = world.program("/usr/bin/python3", ["-c", SERVER]);
    for (side, project) in SIDES.iter().zip(&projects) {
        server = server.arg(format!("{side}.git")).arg(project.dir());
    }
    let server = server.start();
    server.printed("listens at ");
    server.printed_until(|| server.so_far().0.ends_with('\n'));
    let printed = server.so_far().0;
    let port = printed.trim().trim_start_matches("listens at ");
    let addresses = SIDES.map(|side| format!("http://127.0.0.1:{port}/{side}.git"));
    same_as_git(&world, &addresses, &projects);
}
