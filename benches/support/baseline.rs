//! A guard against growth: figures kept in the tree, in `benches/baseline.csv`.

use std::{fs, process::exit};

use super::{options::Options, table::root};

/// A figure that must not grow by more than a twentieth.
pub(crate) struct Guarded {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// Compares with the tree's figures, or writes these of them if that is asked for. Ends the process if one has grown.
pub(crate) fn guard(options: &Options, figures: &[Guarded]) {
    let path = root().join("benches/baseline.csv");
    let text = fs::read_to_string(&path).unwrap();
    if options.update {
        // Those of other benches stay.
        let is_of_another = |line: &&str| {
            let is_it = |one: &Guarded| {
                line.strip_prefix(&one.name)
                    .is_some_and(|rest| rest.starts_with(','))
            };
            !figures.iter().any(is_it)
        };
        let others = text.lines().filter(is_of_another).map(str::to_owned);
        let these = figures
            .iter()
            .map(|one| format!("{},{:.4}", one.name, one.value));
        let lines: Vec<_> = others.chain(these).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        println!("\nwritten to benches/baseline.csv");
        return;
    }
    let mut grown = false;
    println!();
    for Guarded { name, value } in figures {
        let kept = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(','));
        let Some(kept) = kept.and_then(|kept| kept.parse::<f64>().ok()) else {
            println!("{name}: not in benches/baseline.csv");
            grown = true;
            continue;
        };
        // What is none must stay none; a half of an allocation a request is one in two requests.
        let most = (kept * MOST_GROWTH).max(kept + 0.01);
        let verdict = match () {
            () if *value > most => "GROWN",
            () if *value * MOST_GROWTH < kept => "shrunk: `--guard --update` keeps it so",
            () => "as it was",
        };
        println!("{name}: {value:.4}, kept {kept:.4}: {verdict}");
        grown |= *value > most;
    }
    if grown {
        eprintln!(
            "\nA figure has grown by more than 5 %. If it is worth it, write the figures anew: the same with --update"
        );
        exit(1);
    }
}

const MOST_GROWTH: f64 = 1.05;
