"""Run the demonstration: a planned recipe and the usual one on built-in data.

Both models see the same cases, for the same number of steps, in the same network. One is trained
and cut as rareseg plans it; the other looks at random places and is cut at 0.5.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.folder_lock import one_writer
from rareseg.progress import Track, silent
from rareseg.report.pages.report_page import write_report
from rareseg.run.evaluate import HALF, Evaluation
from rareseg.run.setup.prepare import Say, TrainingOptions, say_nothing
from rareseg.run.setup.run_folder import claim
from rareseg.run.train import train

SPECKS = SpecksSettings(images=280, contrast=1.8, seed=7)
"""Hard enough that the usual recipe falls short in the time that the demonstration has."""

SHARED = (
    "split.train=0.5",
    "split.validation=0.2",
    "split.test=0.3",
    "data.target_spacing=null",
    "sampling.patch_size=[64, 64]",
    "sampling.batch_size=32",
    "network.width=[16, 32, 64]",
    "training.steps=300",
    "training.learning_rate=0.003",
    "training.validations=2",
    "training.validation_cases=40",
)
"""What both models have in common, small enough for a laptop."""

USUAL = ("sampling.strategy=random",)
USUAL_LABEL = "random sampling, at 0.5"


@dataclass(frozen=True)
class Demonstration:
    """The evaluation of the planned model, with the usual one's scorecard beside it."""

    evaluation: Evaluation
    lines: tuple[str, ...]


@one_writer("out")
def run_demo(out: Path, *, track: Track = silent, say: Say = say_nothing) -> Demonstration:
    """Make the data, train both models, and report them side by side in ``out``.

    A repeated call takes up what is there. Raises :class:`OutputError` where ``out`` holds
    anything else.
    """
    about = {"specks": asdict(SPECKS), "settings": SHARED}
    claim(out, "demo.json", about, "a demonstration with other settings")
    data = out / "data"
    if not (data / "manifest.csv").is_file():
        write_specks(data, SPECKS, track=track)
    say("1/2 training as planned")
    planned = train(
        data, out / "run", training_options=TrainingOptions(settings=SHARED), track=track, say=say
    )
    say("2/2 training on random places, for the same steps")
    usual = train(
        data,
        out / "random",
        training_options=TrainingOptions(settings=(*SHARED, *USUAL)),
        track=track,
        say=say,
    )
    assert planned is not None
    assert usual is not None
    beside = dict(usual.content.scorecards)[HALF]
    content = replace(
        planned.content,
        title="rareseg demo: rare specks on textured plates",
        scorecards=((USUAL_LABEL, beside), *planned.content.scorecards),
    )
    report = out / "report.html"
    write_report(report, content)
    evaluation = replace(planned, content=content, report=report)
    lines = (
        "",
        f"{SPECKS.images} images of {SPECKS.size} x {SPECKS.size} pixels, half of them empty, "
        f"{SPECKS.foreground_share:.1%} of the pixels of the others in specks.",
    )
    return Demonstration(evaluation, lines)
