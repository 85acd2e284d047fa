"""Commands `review` and `apply-review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.shared_options import AsJson, Device, Out, Run
from rareseg.cli.terminal import bar, print_json, print_line
from rareseg.errors import UsageError


@app.command(epilog="Example: rareseg review run --reviewer 'Ada'")
def review(
    run: Run,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Of this machine; 0 takes a free one.")
    ] = 0,
    reviewer: Annotated[
        str, typer.Option("--reviewer", help="Your name; the page asks where it is not given.")
    ] = "",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page, or print its link alone.")
    ] = True,
    picks: Annotated[
        Path | None,
        typer.Option(
            "--picks",
            help="Groups that `monitor --label` drew, shown without predictions, in place of the "
            "run's suspects.",
        ),
    ] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Look at suspects and worst cases one after the other and decide, in a local web page.

    The page answers this machine alone, and nobody without the link. Decisions are kept in the
    run's folder; no source file is changed.
    """
    import threading
    import webbrowser

    from rareseg.data.folder_lock import sole_writer
    from rareseg.review.answers import checked_name
    from rareseg.review.open_review import only_review, open_page_api
    from rareseg.review.picks.picked_images import open_picks_api
    from rareseg.review.server import ReviewServer

    name = checked_name(reviewer) if reviewer else ""
    with only_review(run) if picks is None else sole_writer(picks):
        api = open_page_api(run, device=device) if picks is None else open_picks_api(run, picks)
        try:
            server = ReviewServer(api, port=port, reviewer=name)
        except OSError as error:
            raise UsageError(
                f"--port {port} cannot be used ({error.strerror or error}); name another, or 0 "
                "for a free one."
            ) from error
        with server, api.answers:
            if as_json:
                print_json({"link": server.link, "decisions": str(api.answers.path), **api.about()})
            else:
                if api.items.notice:
                    print_line(api.items.notice)
                items = len(api.items.items)
                print_line(f"{items} items; Ctrl-C ends, and nothing decided is lost.")
                print_line(server.link)
            if browser:
                # A browser in the terminal ends when it is closed, and would be waited for.
                threading.Thread(target=webbrowser.open, args=(server.link,), daemon=True).start()
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                if not as_json:
                    print_line(f"Decisions are in {api.answers.path}.")


@app.command(name="apply-review", epilog="Example: rareseg apply-review run --out reviewed")
def apply_review(run: Run, out: Out, device: Device = "cpu", as_json: AsJson = False) -> None:
    """Write the data as reviewed to a new folder: manifest, corrected masks, and who decided what.

    `rareseg train OUT` opens it with the same split. No source file is changed.
    """
    from rareseg.review.apply_answers import apply_review as apply_to_data

    applied = apply_to_data(run, out, device=device, track=bar)
    if as_json:
        print_json({"manifest": str(applied.manifest), **applied.record})
        return
    for line in applied.lines():
        print_line(line)
    print_line(f"`rareseg train {out}` learns from it, with the same split.")
