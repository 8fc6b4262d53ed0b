//! tower-bearer beside its peers: one workload, one run, all drivers in turn.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml                        # times, and trouble
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --instructions      # counts, under valgrind
//! ```
//! What each peer needs is its own: a service below with an error type of its own, a token endpoint over HTTP, a request type
//! of its own. Whatever a peer leaves to its caller, such as writing the header, is done here as plainly as it can be.

#[path = "../../support/mod.rs"]
mod support;

mod aws_smithy;
mod azure;
mod cf_gears;
mod endpoint;
mod huskarl;
mod middle;

use self::support::{
    herd::{Peer, trouble},
    options::Options,
    warm::{Drivers, Titles},
};

fn main() {
    let options = Options::from_command_line();
    let mut drivers = Drivers::new(&options);
    drivers.add_yardsticks();
    middle::add(&mut drivers);
    azure::add(&mut drivers);
    cf_gears::add(&mut drivers);
    aws_smithy::add(&mut drivers);
    huskarl::add(&mut drivers);
    drivers.add_tower_bearer();
    let titles = Titles {
        times: "A warm request beside the peers: 6 headers, 256 bytes of body, in memory",
        times_file: "peers",
        counts_file: "peers_counts",
    };
    drivers.run(&options, titles);
    if options.count.is_none() && !options.instructions {
        let peers = [
            Peer::tower_bearer(),
            cf_gears::peer(),
            aws_smithy::peer(),
            azure::peer(),
            huskarl::peer(),
        ];
        trouble(&peers, &options, "peers_trouble");
    }
}
