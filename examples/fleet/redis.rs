//! A Redis of one's own: on a free port of loopback, in a temporary folder, stopped when it is dropped.

use std::{
    env, fs, io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio, id},
    thread::sleep,
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    folder: PathBuf,
    /// A file that it rewrites.
    configuration: Option<PathBuf>,
    options: Vec<String>,
    running: Option<Child>,
}

impl RedisServer {
    /// Starts one with these options, as in a command line. `None` if none is installed.
    pub(crate) fn start(options: &[&str]) -> io::Result<Option<Self>> {
        Self::start_with(None, options)
    }

    /// Starts a Sentinel that watches over this server by the name `mymaster`, and is quick.
    pub(crate) fn start_sentinel(&self) -> io::Result<Option<Self>> {
        let port = self.port;
        let configuration = format!(
            "sentinel monitor mymaster 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 10000\n"
        );
        Self::start_with(Some(configuration), &["--sentinel"])
    }

    fn start_with(configuration: Option<String>, options: &[&str]) -> io::Result<Option<Self>> {
        let port = free_port()?;
        let folder = env::temp_dir().join(format!("tower-bearer-redis-{}-{port}", id()));
        fs::create_dir_all(&folder)?;
        let configuration = match configuration {
            Some(text) => {
                let file = folder.join("redis.conf");
                fs::write(&file, text)?;
                Some(file)
            }
            None => None,
        };
        let mut server = Self {
            port,
            folder,
            configuration,
            options: options.iter().map(ToString::to_string).collect(),
            running: None,
        };
        match server.restart() {
            Ok(()) => Ok(Some(server)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it. What it held is gone.
    pub(crate) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    /// Starts it again, empty, on the same port.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let running = Command::new("redis-server")
            .args(&self.configuration)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.folder)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.running = Some(running);
        for _ in 0..500 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("redis-server does not listen"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
