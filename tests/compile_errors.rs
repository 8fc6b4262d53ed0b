//! What the compiler says to somebody whose stack does not fit.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Checks `main` as a crate that depends on this one, and gives what the compiler says.
fn compile(name: &str, main: &str) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let package = folder.join(name);
    fs::create_dir_all(package.join("src")).unwrap();
    fs::write(package.join("src/main.rs"), main).unwrap();
    fs::write(
        package.join("Cargo.toml"),
        format!(
            r#"
            [package]
            name = "{name}"
            version = "0.0.0"
            edition = "2024"
            [dependencies]
            bytes = "1"
            http = "1"
            http-body-util = "0.1"
            tower = {{ version = "0.5", default-features = false, features = ["util"] }}
            tower-bearer = {{ path = {root:?}, default-features = false }}
            [workspace]
            "#
        ),
    )
    .unwrap();
    // The same versions, so that nothing need be fetched.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

const STACK: &str = r#"
#![allow(unused_imports)]
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_bearer::{replay::NoReplay, token::FixedToken, BearerAuthLayer, Token};

struct NotClone;

fn client() -> impl Service<Request<NotClone>, Response = Response<Full<Bytes>>, Error = std::io::Error> + Clone {
    tower::service_fn(|_: Request<NotClone>| async { Ok(Response::new(Full::default())) })
}

fn is_a_service<S: Service<Request<NotClone>>>(_: S) {}

fn main() {
    let source = FixedToken::new("t").unwrap();
    let layer = BearerAuthLayer::new(source);
    //CALL
}
"#;

#[test]
fn a_body_that_is_not_clone_is_told_the_way_out() {
    for (name, call) in [
        ("as-an-argument", "is_a_service(layer.layer(client()));"),
        (
            "as-a-receiver",
            "let _ = layer.layer(client()).oneshot(Request::new(NotClone));",
        ),
        (
            "in-a-builder",
            "let _ = ServiceBuilder::new().layer(layer).service(client()).call(Request::new(NotClone));",
        ),
    ] {
        let (compiles, said) = compile(name, &STACK.replace("//CALL", call));
        assert!(!compiles, "{name} compiles");
        assert!(said.contains("NotClone"), "{name}: {said}");
        assert!(said.contains(".replay(Buffered::up_to("), "{name}: {said}");
        assert!(said.contains(".replay(NoReplay)"), "{name}: {said}");
    }
}

#[test]
fn the_way_out_compiles() {
    let call = "is_a_service(layer.replay(NoReplay).layer(client()));";
    let (compiles, said) = compile("the-way-out", &STACK.replace("//CALL", call));
    assert!(compiles, "{said}");
}
