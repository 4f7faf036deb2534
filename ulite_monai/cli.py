"""The command `ulite`: a thin layer over the package. Heavy imports wait until a command needs them."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from ulite_monai.errors import InputError, input_error

__all__ = ["app", "main"]

app = typer.Typer(
    help="U-Lite: small segmentation networks for medical images. For research use only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Source = Annotated[Path, typer.Argument(help="A file, a folder, a data list or a DICOM tree.")]


def main() -> None:
    """Run the command; an InputError becomes one line and exit code 1, Ctrl-C exit code 130."""
    # A third of a short command's time went into looking for garbage: while MONAI is imported, and at the exit.
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger("ulite_monai").setLevel(logging.WARNING)
    try:
        app()
    except _Stopped as stop:
        typer.echo(stop.message, err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(stop.code)  # without waiting for what other threads compute
    except SystemExit as end:
        if end.code == INTERRUPTED:
            typer.echo("interrupted.", err=True)
        raise
    except Exception as error:
        message = input_error(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        raise SystemExit(1) from None


CASE_WIDTH = 36  # of the table that ends a run, for the columns beside the classes
INTERRUPTED = 130  # the exit code after Ctrl-C


class _Stopped(Exception):
    """The end of a run whose threads may still compute."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@app.command()
def predict(
    input: Annotated[Path, typer.Option("-i", "--input", help="A file, a folder, a data list or a DICOM tree.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder; for one input also a file name.")],
    bundle: Annotated[
        str, typer.Option(help="hippocampus, nuclei, or a bundle's folder (its code is run); several by 'my_folds/*'.")
    ] = "hippocampus",
    ckpt: Annotated[Path | None, typer.Option(help="Weights other than the bundle's own, or a quoted pattern.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    engine: Annotated[str | None, typer.Option(help="auto (OpenVINO on a CPU), torch or openvino.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto (float16 on CUDA, else float32), float32, bfloat16 or float16.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the network; by default all cores.")] = None,
    format: Annotated[str, typer.Option(help="nifti, dicom-seg or both.")] = "nifti",
    statistics: Annotated[bool, typer.Option("--statistics", help="Write volumes.csv.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Write a picture of each case.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write the classes' probabilities.")] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over flips: slower.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what lies outside the bundle's ranges.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave cases that are done.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that this program didn't write, or that were changed.")
    ] = False,
    resample_tilt: Annotated[bool, typer.Option("--resample-tilt", help="Resample tilted DICOM series.")] = False,
    jobs: Annotated[int, typer.Option(help="Cases that are read and written at the same time.")] = 2,
    part: Annotated[
        str | None, typer.Option(help="K/N, the K-th of N parts of the cases, or slurm: the task of a job array.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(help="The address of a Dask scheduler, or local:N for N processes of this machine.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="bids: the T1w images of a BIDS dataset, and masks as its derivatives.")
    ] = None,
    set: Annotated[list[str] | None, typer.Option("--set", help="id=value of inference.json, repeatable.")] = None,
) -> None:
    """Segment volumes or images; masks lie exactly on the inputs."""
    if format not in ("nifti", "dicom-seg", "both"):
        raise InputError(f"--format must be nifti, dicom-seg or both, got {format!r}.")
    if layout not in (None, "bids"):
        raise InputError(f"--layout must be bids, or not be given, got {layout!r}.")
    from rich.console import Console
    from rich.progress import Progress

    from ulite_monai.bundles import BUNDLES
    from ulite_monai.engines.allocator import keep_freed_memory
    from ulite_monai.engines.lean_import import UNNEEDED_TO_PREDICT, left_out

    with left_out(UNNEEDED_TO_PREDICT if bundle in BUNDLES else ()):  # what another bundle needs isn't known
        from ulite_monai.prediction import Part, PredictOptions, Segmenter, predict_cases
        from ulite_monai.prediction.bids_outputs import bids_label
        from ulite_monai.prediction.runners import Runner, in_threads
    keep_freed_memory()
    console = Console()
    typed = {"engine": engine, "precision": precision, "threads": threads}
    overrides: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}
    overrides |= {"resample_tilt": True} if resample_tilt else {}
    overrides |= dict(_setting(text) for text in set or [])
    segmenter = Segmenter(bundle, ckpt, device, tta, overrides)
    run: Runner = in_threads
    if dask is not None:
        from ulite_monai.prediction.dask_runner import DaskRunner

        input, output = input.expanduser().absolute(), output.expanduser().absolute()
        run = DaskRunner(dask, bundle, ckpt, device, tta, overrides)
    options = PredictOptions(
        format=format,  # type: ignore[arg-type]
        statistics=statistics,
        preview=preview,
        probabilities=probabilities,
        force=force,
        resume=resume,
        overwrite=overwrite,
        resample_tilt=resample_tilt,
        jobs=jobs,
        part=None if part is None else Part.of_text(part, os.environ),
        bids="" if layout is None else bids_label(bundle),
    )
    try:
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("segmenting", total=None)
            windows = progress.add_task("windows", visible=False)
            segmenter.inferer.on_window = lambda done, total: progress.update(
                windows, completed=done, total=total, visible=done < total
            )

            def report(result: Any, number: int, total: int) -> None:
                progress.update(bar, completed=number, total=total)
                text = f"[{number}/{total}] {result.id}: {result.status}, {result.seconds:.1f} s"
                text += ", a whole head" if result.measures else ""
                console.print(text + (f": {result.message}" if result.message else ""), markup=False, soft_wrap=True)
                for warning in result.warnings:
                    console.print(f"    warning: {warning}", markup=False, soft_wrap=True)

            results = predict_cases(input, output, segmenter, options, report, run)
    except KeyboardInterrupt:
        message = f"interrupted: what was done is in {output}; the same command with --resume goes on."
        raise _Stopped(message, INTERRUPTED) from None
    except InputError as error:
        raise _Stopped(f"error: {error}", 1) from None
    found = dict.fromkeys(volume.label for result in results for volume in result.volumes)  # of heads there are more
    console.print(_summary(results, list(found) or segmenter.labels, console.width))
    if any(result.status in ("failed", "refused") for result in results):
        raise SystemExit(1)


def _setting(text: str) -> tuple[str, Any]:
    """`id=value`, with the value as JSON or Python writes it, or a plain word."""
    import ast
    import json

    name, mark, value = text.partition("=")
    if not mark or not name:
        raise InputError(f"--set takes id=value, got {text!r}.")
    for read in (json.loads, ast.literal_eval):
        try:
            return name, read(value)
        except (SyntaxError, ValueError):
            pass
    return name, value


def _summary(results: list[Any], labels: list[str], width: int) -> Any:
    """A table with a row a case; where many classes don't fit beside each other, a row a class of the only case."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    fits = CASE_WIDTH + sum(len(f"{label}, mL") + 3 for label in labels) <= width
    columns = [f"{label}, mL" for label in labels] if fits else ["classes found"]
    table = Table("case", "status", *map(escape, columns), "seconds")
    table.columns[0].overflow = "fold"
    for result in results:
        by_label = {v.label: "" if v.volume_ml is None else f"{v.volume_ml:.3f}" for v in result.volumes}
        volumes = [by_label.get(label, "") for label in labels] if by_label else []
        if not fits and volumes:
            volumes = [f"{sum(v.voxels > 0 for v in result.volumes)} of {len(labels)}"]
        table.add_row(escape(result.id), result.status, *(volumes or [""] * len(columns)), f"{result.seconds:.1f}")
    if fits or not results:
        return table
    if len(results) > 1:
        return Group(table, "--statistics writes the volume of each class to volumes.csv.")
    classes = Table("class", "mL")
    for volume in results[0].volumes:
        classes.add_row(escape(volume.label), "" if volume.volume_ml is None else f"{volume.volume_ml:.3f}")
    return Group(classes, table)


@app.command()
def merge(
    output: Annotated[Path, typer.Argument(help="The folder that the parts of ulite predict --part wrote to.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a record that this program didn't write, or that was changed.")
    ] = False,
) -> None:
    """Make one record of a cohort that was segmented in parts; exit code 1 when something is missing or failed."""
    from ulite_monai.prediction.merge_parts import merge_parts

    merged = merge_parts(output, overwrite)
    bad = [result for result in merged.results if result.status in ("failed", "refused")]
    for result in bad:
        typer.echo(f"{result.id}: {result.status}: {result.message}")
    for sentence in merged.missing:
        typer.echo(f"missing: {sentence}", err=True)
    counts = Counter(result.status for result in merged.results)
    told = ", ".join(f"{number} {status}" for status, number in counts.items())
    typer.echo(f"{len(merged.results)} cases: {told}; see {output / 'report.html'}.")
    if merged.missing:
        typer.echo("Run what is missing again with --resume, and merge again.", err=True)
    if bad or merged.missing:
        raise SystemExit(1)


@app.command()
def inspect(path: Source) -> None:
    """Show what is there: cases and DICOM series, and whether each can be used."""
    from rich.console import Console

    from ulite_monai.datasets.inspect import inspect_path

    found = inspect_path(path)
    console = Console()
    console.print(_table(("case", "modality", "description", "size", "spacing, mm", "axes", "verdict"), found.rows))
    for row in found.rows:
        for text in (row.problem, *row.notes):
            if text:
                console.print(f"{row.id}: {text}", markup=False, soft_wrap=True)
    if found.passed_over:
        console.print("passed over: " + ", ".join(f"{n} {what}" for what, n in found.passed_over.items()), markup=False)
    if any(row.problem for row in found.rows):
        raise SystemExit(1)


def _table(columns: tuple[str, ...], rows: Any) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(escape, row.cells()))
    return table


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(help="A labelled data set: a folder, a data list, or a table (CSV).")],
    labels: Annotated[int | None, typer.Option(help="Number of classes; by default those of the data set.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Pattern that finds the group (the patient, say) in a case's id: '^[^_]+'.")
    ] = None,
) -> None:
    """Check a labelled data set before training on it; exit code 1 when something must be mended."""
    from rich.console import Console

    from ulite_monai.datasets.check import check_dataset

    report = check_dataset(dataset, labels, group)
    console = Console()
    columns = ("case", "size", "spacing, mm", "axes", "label values: voxels", "findings")
    console.print(_table(columns, report.rows))
    for name, text in report.summary:
        console.print(f"{name}: {text}", markup=False, soft_wrap=True)
    for finding in report.findings:
        console.print(f"{finding.level}: {finding.text}", markup=False, soft_wrap=True)
    errors = sum(finding.level == "error" for finding in report.findings)
    console.print(f"{len(report.rows)} cases, {errors} errors, {len(report.findings) - errors} warnings")
    if errors:
        raise SystemExit(1)


@app.command()
def plan(
    dataset: Annotated[Path, typer.Argument(help="A labelled data set: dataset.json, or imagesTr and labelsTr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the bundle to write.")],
    dims: Annotated[str, typer.Option(help="auto, 2 (volumes slice by slice) or 3.")] = "auto",
    group: Annotated[
        str | None, typer.Option(help="Pattern of a case's id: cases with the same match stay together.")
    ] = None,
    set: Annotated[list[str] | None, typer.Option("--set", help="id=value of train.json, repeatable.")] = None,
) -> None:
    """Plan a training from the data, say why, and write its bundle; nothing is trained."""
    from ulite_monai.planning.plan_bundle import plan_bundle, training_command

    for line in plan_bundle(dataset, output, dims, group, dict(_setting(text) for text in set or [])).lines():
        typer.echo(line)
    typer.echo(f"\ntrain it: {training_command(dataset, output)}")


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(help="A labelled data set: dataset.json, or imagesTr and labelsTr.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle: a new folder, or what ulite plan made.")],
    hours: Annotated[
        float | None, typer.Option(help="To the end. By default until nothing improves, at most what the plan says.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Five minutes, to see whether all is well.")] = False,
    fold: Annotated[str | None, typer.Option(help="The fold that validates, or all: every case trains.")] = None,
    folds: Annotated[int | None, typer.Option(help="How many; without --fold all are trained, as an ensemble.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was interrupted.")] = False,
    init_weights: Annotated[Path | None, typer.Option(help="A checkpoint to start from.")] = None,
    group: Annotated[str | None, typer.Option(help="Pattern of what cases of one patient have in common.")] = None,
    dims: Annotated[str, typer.Option(help="auto, 2 or 3: plan for slices or for volumes.")] = "auto",
    set: Annotated[list[str] | None, typer.Option("--set", help="id=value of train.json, repeatable.")] = None,
) -> None:
    """Train on your own labels: looks at the data, plans, trains in the time you have, evaluates."""
    from ulite_monai.planning.train_dataset import train_dataset

    _tell_as_it_goes()
    if quick and hours:
        raise InputError("--quick is a --hours of its own; give one of them.")
    try:
        train_dataset(
            dataset,
            output,
            hours=hours,
            quick=quick,
            fold=int(fold) if fold and fold.isdigit() else fold,
            num_folds=folds,
            resume=resume,
            init_weights=init_weights,
            group=group,
            dims=dims,
            overrides=dict(_setting(text) for text in set or []),
        )
    except KeyboardInterrupt as stop:
        raise _Stopped(str(stop) or f"interrupted; the same command goes on with {output}.", INTERRUPTED) from None


def _tell_as_it_goes() -> None:
    from ulite_monai.engines.quiet import silence_noise

    silence_noise()
    logging.getLogger("ulite_monai").setLevel(logging.INFO)


@app.command()
def evaluate(
    bundle: Annotated[
        str | None, typer.Argument(help="hippocampus, nuclei, or a bundle's folder (its code is run).")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="A labelled data set, to measure a bundle on.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Instead of a bundle: a folder of any program's masks.")] = None,
    references: Annotated[Path | None, typer.Option(help="For --masks: a folder of labels, or a data set.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A folder for report.html, metrics.csv, summary.json.")
    ] = None,
    ckpt: Annotated[Path | None, typer.Option(help="Weights other than the bundle's own, or a quoted pattern.")] = None,
    fold: Annotated[str, typer.Option(help="all cases, or those that a fold validates.")] = "all",
    set: Annotated[list[str] | None, typer.Option("--set", help="id=value of train.json, repeatable.")] = None,
    names: Annotated[Path | None, typer.Option(help="For --masks: a table of values and names, JSON or CSV.")] = None,
    images: Annotated[Path | None, typer.Option(help="For --masks: the images, for the report's pictures.")] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="For --masks: every value above 0 is one class.")
    ] = False,
    ignore: Annotated[int | None, typer.Option(help="For --masks: a value of references that counts nowhere.")] = None,
) -> None:
    """Measure a bundle, or masks, on labelled cases: Dice, distances in mm, volumes, and a report to send."""
    _tell_as_it_goes()
    if (
        (bundle is None) == (masks is None)
        or (bundle is None) != (dataset is None)
        or (masks is None) != (references is None)
    ):
        raise InputError("give a BUNDLE with --dataset DIR, or --masks DIR with --references DIR.")
    if masks is not None and references is not None:
        from rich.progress import Progress

        from ulite_monai.prediction.evaluate_masks import evaluate_masks

        folder = output or Path(f"{masks}_evaluation")
        with Progress(transient=True) as progress:
            bar = progress.add_task("measuring", total=None)
            done = evaluate_masks(
                masks,
                references,
                folder,
                names,
                images,
                foreground,
                ignore,
                on_case=lambda number, total: progress.update(bar, completed=number, total=total),
            )
        if done.refused:
            raise SystemExit(1)
    elif bundle is not None and dataset is not None:
        from ulite_monai.prediction.evaluate_bundle import evaluate_bundle

        if output is None:
            raise InputError("--output is missing: give a folder for the evaluation of a bundle, -o DIR.")
        part = int(fold) if fold.isdigit() else fold
        evaluate_bundle(bundle, dataset, output, ckpt, part, dict(_setting(text) for text in set or []))


@app.command()
def export(
    bundle: Annotated[str, typer.Argument(help="hippocampus, nuclei, or a bundle's folder (its code is run).")],
    to: Annotated[str, typer.Option(help="onnx, openvino or torchscript.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file: .onnx, .xml, .ts or .pt.")],
    ckpt: Annotated[Path | None, typer.Option(help="Weights other than the bundle's own, or a quoted pattern.")] = None,
    set: Annotated[list[str] | None, typer.Option("--set", help="id=value of inference.json, repeatable.")] = None,
) -> None:
    """Write a bundle's network to a file that runs without this package, checked against PyTorch."""
    from ulite_monai.prediction.export_bundle import export_bundle

    report = export_bundle(bundle, output, to, ckpt, dict(_setting(text) for text in set or []))
    for file in report.files:
        typer.echo(str(file))
    typer.echo(f"its logits differ from PyTorch's by at most {report.largest_difference:.1e}")


@app.command()
def serve(
    studies: Annotated[str | None, typer.Option(help="A folder of images, or the URL of a PACS's DICOMweb.")] = None,
    bundle: Annotated[
        list[str] | None, typer.Option(help="hippocampus (the default), nuclei, or a bundle's folder; repeatable.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Where copies of the bundles and all that is trained go.")] = Path(
        "ulite-label"
    ),
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.")] = 8000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another web page that may use the server, as http://HOST:PORT.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another name or address by which the server may be called; repeatable.")
    ] = None,
    print_app: Annotated[
        bool, typer.Option("--print-app", help="Only make the app's folder and print it, for monailabel start_server.")
    ] = False,
    export: Annotated[
        tuple[str, Path] | None, typer.Option(help="Only write a served model, as it is now, to a new bundle.")
    ] = None,
) -> None:
    """Annotate with 3D Slicer or OHIF: a MONAI Label server that segments, and learns from what is corrected."""
    from ulite_monai.label.serve import serve as start
    from ulite_monai.label.work_folder import models_in, prepare_app

    if export:
        name, target = export
        models_in(work, [name])[name].export(target)
        typer.echo(str(target))
    elif print_app:
        prepare_app(work, bundle or ["hippocampus"])
        typer.echo(str(work.resolve()))
    elif studies is None:
        raise InputError("--studies is missing: give a folder of images, or a PACS's DICOMweb as http://HOST/PATH.")
    else:
        start(bundle or ["hippocampus"], studies, work, host, port, device, allow_origin or [], allow_host or [])
