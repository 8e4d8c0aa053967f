"""Packages for the tests of what other packages add: as an installer leaves them."""


def install(site, monkeypatch, name, entry_points, modules):
    """Put a package on the path, with its metadata; `modules` are files and their contents."""
    for path, content in modules.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    metadata = site / f"{name.replace('-', '_')}-2.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.1\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[loafer_kit.{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(site))
    return site
