//! What a warm request costs over the service below the layer, in memory.
//!
//! ```sh
//! cargo bench --bench hot_path                              # nanoseconds, all drivers in turn
//! cargo bench --bench hot_path -- --instructions            # instructions and allocations, under valgrind
//! cargo bench --bench hot_path -- --guard                   # has it grown over benches/baseline.csv?
//! cargo bench --bench hot_path -- --guard --update          # write benches/baseline.csv
//! ```

mod support;

use self::support::{
    baseline::{Guarded, guard},
    options::Options,
    valgrind::Count,
    warm::{BARE, Drivers, Titles},
};

fn main() {
    let options = Options::from_command_line();
    let mut drivers = Drivers::new(&options);
    drivers.add_yardsticks();
    drivers.add_tower_bearer();
    let names: Vec<_> = drivers.drivers.iter().map(|driver| driver.name).collect();
    let titles = Titles {
        times: "A warm request: 6 headers, 256 bytes of body, in memory",
        times_file: "hot_path",
        counts_file: "hot_path_counts",
    };
    let counts = drivers.run(&options, titles);
    if options.guard {
        let counts = counts.expect("the guard needs valgrind");
        guard(&options, &guarded(&names, &counts));
    }
}

/// What tower-bearer adds to a request, in parts of what the request takes without it: a newer compiler, another processor's
/// `memcpy` or a newer `http` moves both, and the quotient little.
fn guarded(names: &[&str], counts: &[Count]) -> Vec<Guarded> {
    let place = names.iter().position(|name| *name == BARE);
    let bare = counts[place.expect("the service alone is counted")];
    let ours = names
        .iter()
        .zip(counts)
        .filter(|(name, _)| name.starts_with("tower-bearer"));
    ours.flat_map(|(name, count)| {
        let name = name.replace(',', "");
        let over = count.over(&bare);
        [
            Guarded {
                name: format!("{name}: instructions over the service alone in parts of it"),
                value: over.instructions / bare.instructions,
            },
            Guarded {
                name: format!("{name}: allocations over the service alone"),
                value: over.allocations,
            },
        ]
    })
    .collect()
}
