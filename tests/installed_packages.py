"""Installed packages with entry points, for tests."""


def install(site, monkeypatch, name, entry_points, modules):
    """Put a package with metadata on the path; `modules` maps files to their contents."""
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
