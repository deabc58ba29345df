"""`gridbeat config`: the settings in force."""

import typer

from cli.options import Json, group, settings

app = group()


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Show every setting, its value without secrets, and where it came from."""
    from dataclasses import asdict

    from cli.output import Column, emit_rows, table

    described = settings(context).describe()
    if json:
        emit_rows(asdict(setting) for setting in described)
        return
    columns = [
        Column(en="setting", zh="设置", cell=lambda row: row.name),
        Column(en="value", zh="值", cell=lambda row: row.value, fold=True),
        Column(en="from", zh="来自", cell=lambda row: row.origin, fold=True),
    ]
    table(columns, described, "en")


@app.command()
def sample() -> None:
    """Print a gridbeat.toml with every setting at its default."""
    import sys

    from store.settingssample import sample_toml

    sys.stdout.write(sample_toml())
