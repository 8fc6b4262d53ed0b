"""Lists the types and traits of other crates that our public API shows, and compares them with `public_types.toml`.

A crate whose types are in our API cannot get a new major version without one of ours, so that each is a decision. It reads
what rustdoc says in JSON, without features, with each feature alone, and with all of them.

What counts, of everything that can be reached from the crate's root by public modules and re-exports:
- what a function takes and gives, what a field, a variant, a constant or an alias is made of;
- bounds: of generics, of traits, of associated types;
- traits of other crates that we implement, with their associated types and their functions;
- what we re-export.
The same goes for types of ours that have no public path but stand in one of these places. The standard library does not
count, nor does what is hidden from the docs, nor what is implemented for every type by the owner of the trait, nor on which
condition a future of ours is `Unpin`.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
# The versions of the format of rustdoc's JSON that this was tried with.
FORMATS = (57, 57)
STANDARD = {"std", "core", "alloc"}


def main():
    allowed = tomllib.loads((HERE / "public_types.toml").read_text())
    features = features_of_ours()
    wrong = [
        f"public_types.toml: no such feature: {name}"
        for name in allowed.keys() - features.keys() - {"none"}
    ]

    # What a feature adds to what there is without it: its own table answers for that, and those of the features it switches on.
    runs = {"none": ["none"]}
    runs |= {name: ["none", *switched_on(name, features)] for name in features if name != "default"}
    runs["all"] = list(runs)
    for run, tables in runs.items():
        shown = foreign_types(rustdoc(run))
        listed = {
            f"{crate}::{name}"
            for table in tables
            for crate, entry in allowed.get(table, {}).items()
            for name in entry["types"]
        }
        crates = {name.split("::")[0] for name in shown}
        print(f"{run}: {len(shown)} types of {len(crates)} crates")
        for name in sorted(shown.keys() - listed):
            wrong.append(f"{run}: not in public_types.toml: {name}, first seen in {shown[name]}")
        for name in sorted(listed - shown.keys()):
            wrong.append(f"{run}: in public_types.toml, but the API does not show it any more: {name}")

    for table, crates in allowed.items():
        for crate, entry in crates.items():
            if not entry.get("why", "").strip():
                wrong.append(f"public_types.toml: no reason: {table}.{crate}")
    if wrong:
        sys.exit("\n".join(wrong))


def features_of_ours():
    """Our features, and what each switches on."""
    metadata = cargo("metadata", "--no-deps", "--format-version", "1", stdout=subprocess.PIPE)
    return json.loads(metadata)["packages"][0]["features"]


def switched_on(feature, features):
    on = [feature]
    for name in on:
        on += [other for other in features[name] if other in features and other not in on]
    return on


def rustdoc(run):
    """What rustdoc says of our library, with these features."""
    flags = {"none": ["--no-default-features"], "all": ["--all-features"]}
    flags = flags.get(run, ["--no-default-features", "--features", run])
    # The JSON of each run in a place of its own; what the dependencies are built to stays where the other steps have it.
    target = Path("target/public-types") / run
    environment = {
        "RUSTDOC": str(HERE.resolve() / "stable_rustdoc"),
        "CARGO_BUILD_BUILD_DIR": os.environ.get("CARGO_TARGET_DIR", "target"),
    }
    as_json = ["-Z", "unstable-options", "--output-format", "json"]
    cargo(
        *["rustdoc", "--quiet", "--lib", "--target-dir", str(target), *flags, "--", *as_json],
        **environment,
    )
    return json.loads((target / "doc/tower_bearer.json").read_text())


def cargo(*arguments, stdout=None, **environment):
    cargo = os.environ.get("CARGO", "cargo")
    return subprocess.run([cargo, *arguments], check=True, stdout=stdout, env=os.environ | environment).stdout


def foreign_types(docs):
    """The types and traits of other crates by their path, and where each was seen first."""
    # Its format is not stable: what this reads is there in these.
    if not FORMATS[0] <= docs["format_version"] <= FORMATS[1]:
        sys.exit(f"rustdoc's JSON has the format {docs['format_version']}, and this reads {FORMATS[0]} to {FORMATS[1]}")
    index, paths = docs["index"], docs["paths"]
    crates = docs["external_crates"]
    shown = {}
    seen = set()

    def see(identity, where):
        """A type or a trait that stands in the API."""
        item = index.get(str(identity))
        if item and item["crate_id"] == 0:
            visit(identity, where)
            return
        path = paths.get(str(identity))
        if path is None:
            sys.exit(f"rustdoc does not say what {identity} is, in {where}")
        crate = "std" if path["crate_id"] == 0 else crates[str(path["crate_id"])]["name"]
        if path["crate_id"] != 0 and crate not in STANDARD:
            # Of the crate where it is defined, whose version it comes with. The modules between are as a rule private ones.
            shown.setdefault(f"{crate}::{path['path'][-1]}", where)

    def look(part, where):
        """Any part of a signature. A reference to a type or a trait has a path and an id, wherever it stands."""
        if isinstance(part, list):
            for each in part:
                look(each, where)
        elif isinstance(part, dict):
            if "path" in part and "id" in part:
                see(part["id"], where)
            for each in part.values():
                look(each, where)

    def visit(identity, where):
        item = index.get(str(identity))
        if item is None or identity in seen:
            return
        seen.add(identity)
        (kind, inner), = item["inner"].items()
        name = item["name"] or (inner["trait"]["path"] if kind == "impl" and inner["trait"] else None)
        if path := paths.get(str(identity)):
            where = "::".join(path["path"])
        elif name:
            where = f"{where}::{name}"
        below = []
        match kind:
            case "module":
                below = inner["items"]
            case "use":
                # A re-export: of ours, or of something foreign.
                if str(inner["id"]) in index:
                    below = [inner["id"]]
                else:
                    see(inner["id"], where)
            case "struct" | "union":
                look(inner["generics"], where)
                # A union has its fields without a kind.
                below = fields(inner.get("kind", {"plain": inner})) + inner["impls"]
            case "enum":
                look(inner["generics"], where)
                below = inner["variants"] + inner["impls"]
            case "variant":
                below = fields(inner["kind"])
            case "trait":
                look([inner["generics"], inner["bounds"]], where)
                below = inner["items"] + inner["implementations"]
            case "impl":
                if inner["is_synthetic"] or inner["blanket_impl"]:
                    return
                if name and name.split("::")[-1] == "Unpin":
                    # pin-project-lite's: its condition names a private type of the macro.
                    return
                look([inner["generics"], inner["trait"], inner["for"]], where)
                below = inner["items"]
            case _:
                look(inner, where)
        for each in below:
            visit(each, where)

    def fields(kind):
        if isinstance(kind, dict):
            named = kind.get("plain") or kind.get("struct") or {}
            all_of_them = kind.get("tuple") or named.get("fields", [])
            # A private one of a tuple is there, as nothing.
            return [field for field in all_of_them if field is not None]
        return []

    root = index[str(docs["root"])]["inner"]["module"]
    for each in root["items"]:
        visit(each, "tower_bearer")
    # What is implemented for a foreign type by a foreign trait is listed with neither, such as a `From<Ours> for Theirs`.
    for identity, item in index.items():
        if item["crate_id"] == 0 and "impl" in item["inner"]:
            path = item["span"] and item["span"]["filename"]
            if path and path.startswith("src/"):
                visit(int(identity), f"an impl in {path}")
    return shown


main()
