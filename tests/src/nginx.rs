//! A real nginx in front of the webhook, configured as the example is.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{CertificateFiles, Running, World, free_port};

/// How long nginx may take to listen.
const START: Duration = Duration::from_secs(10);

/// A running nginx, where TLS ends. Dropping it stops it.
#[derive(Debug)]
pub struct Nginx {
    running: Running,
    port: u16,
}

impl Nginx {
    /// Starts one for the `server` of the example, which listens at 443 and passes on to 127.0.0.1:4711. Both are replaced:
    /// it listens at a free port and passes on to `webhook`. nginx itself cannot be given port 0, so the port was free a
    /// moment ago.
    #[track_caller]
    pub fn new(world: &World, server: &str, webhook: &str, certificate: &CertificateFiles) -> Self {
        let port = free_port();
        let dir = world.path("nginx");
        fs::create_dir_all(&dir).expect("the world is ours");
        let file = |name: &str| dir.join(name).display().to_string();
        let path = |path: &Path| path.display().to_string();
        let mut server = server.to_owned();
        for (shown, here) in [
            ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
            ("/etc/ssl/hooks.example.pem", path(&certificate.certificate)),
            ("/etc/ssl/hooks.example.key", path(&certificate.key)),
            ("127.0.0.1:4711", webhook.to_owned()),
        ] {
            assert!(server.contains(shown), "the example has '{shown}'");
            server = server.replace(shown, &here);
        }
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {};\nerror_log {};\nevents {{}}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {};\nproxy_temp_path {};\nfastcgi_temp_path {};\n\
             uwsgi_temp_path {};\nscgi_temp_path {};\n{server}\n}}\n",
            file("pid"),
            file("error.log"),
            file("body"),
            file("proxy"),
            file("fastcgi"),
            file("uwsgi"),
            file("scgi"),
        );
        fs::write(dir.join("nginx.conf"), configuration).expect("the world is ours");
        let arguments = [
            "-e",
            &file("error.log"),
            "-p",
            &path(&dir),
            "-c",
            &file("nginx.conf"),
        ];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let sbin = ["/usr/sbin".into(), "/usr/local/sbin".into()];
        let paths = std::env::split_paths(&path).chain(sbin);
        let path = std::env::join_paths(paths).expect("they are paths");
        let running = world.program(
            "env",
            [format!("PATH={}", path.display()).as_str(), "nginx"],
        );
        let running = running.args(arguments).start();
        let deadline = Instant::now() + START;
        while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
            assert!(
                Instant::now() < deadline && !running.has_ended(),
                "nginx does not listen: {:?}\n{}",
                running.so_far(),
                fs::read_to_string(dir.join("error.log")).unwrap_or_default()
            );
            // It tells nobody when it does.
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { running, port }
    }

    /// Returns what its URLs begin with.
    pub fn base(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.running.kill(crate::Signal::TERM);
    }
}
