"""The command line; each command imports what it needs when it runs."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hftransfer.base.errors import (
    DataError,
    HftransferError,
    OutputError,
    RecipeError,
    must_be,
    nearest,
    printable,
    printable_json,
)
from hftransfer.usage import Commands, recipes_like

if TYPE_CHECKING:
    from hftransfer.base.progress import Progress
    from hftransfer.predictors.export import Form
    from hftransfer.predictors.load import Precisions
    from hftransfer.predictors.ranked import Ranked
    from hftransfer.predictors.searching import Match
    from hftransfer.predictors.suggesting import Suggestion

app = typer.Typer(
    name="hftransfer",
    help="Transfer learning on the Hugging Face stack: a pretrained model, a small data set, one recipe.",
    no_args_is_help=True,
    cls=Commands,
    # Typer's own tracebacks show the values of locals, tokens among them; ours come with --debug alone.
    pretty_exceptions_enable=False,
    # Help texts hold brackets that are no markup.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

runs_app = typer.Typer(help="List, show, compare or delete earlier runs.", cls=Commands, rich_markup_mode=None)
app.add_typer(runs_app, name="runs", invoke_without_command=True)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from hftransfer import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


_EMBEDDINGS, _SUGGESTIONS = Path("features.parquet"), Path("suggestions")
RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.", autocompletion=recipes_like
    ),
]
RecipeOrRun = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe file, or the name of a shipped recipe; with --resume a run folder too.",
        autocompletion=recipes_like,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides such as data.source=~/pets; ~KEY drops a key."),
]
DataOverrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings of a recipe's data section, such as text_column=review."),
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run folder or a folder of runs (the newest), a model folder, a Hub id, a bundled model.",
    ),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="The folder of a run, or a folder of runs, which means its newest.")
]
Base = Annotated[str | None, typer.Option(help="For LoRA: where the base model is, if it has moved.")]
Threshold = Annotated[
    float | None,
    typer.Option(help="For several labels: predict each from this probability, instead of the model's thresholds."),
]
Prompts = Annotated[
    list[str] | None, typer.Option(help="For a dual encoder: a template, or a set of them; may be repeated.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Image files or texts, as the model takes them; folders, patterns ('photos/*.jpg'), tables (.csv, "
        ".tsv, .jsonl, .parquet, .tar), or - for the lines of standard input (of questions: JSON with both texts).",
    ),
]
Column = Annotated[str | None, typer.Option(help="For tables: the column with images, texts or questions.")]
PairColumn = Annotated[str | None, typer.Option(help="For tables: the column with second texts, or contexts.")]
Question = Annotated[str | None, typer.Option(help="For question answering: the question …")]
Context = Annotated[str | None, typer.Option(help="… and the text with the answer.")]
Overlay = Annotated[bool, typer.Option("--overlay", help="With --out: also write images with their masks over them.")]
Tile = Annotated[int | None, typer.Option(help="For segmentation: cut larger images into squares of this many pixels.")]
MaxNewTokens = Annotated[int | None, typer.Option(help="For prompts: the longest text to write, in tokens.")]
Temperature = Annotated[
    float | None, typer.Option(help="For prompts: 0 (the default) takes the likeliest token, 1 samples one.")
]
Pair = Annotated[str | None, typer.Option(help="For pairs of texts: the second text; give one input.")]
Precision = Annotated[str, typer.Option(help="fp32 (as plain transformers), bf16 or auto.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
Grace = Annotated[
    float,
    typer.Option(min=0.1, max=1e6, help="Seconds after SIGTERM or Ctrl-C in which the run stops with a checkpoint."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@app.command()
def run(
    recipe: RecipeOrRun,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run folder (default: runs/<recipe>/<time>).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the newest interrupted run of this recipe, or of a folder of runs."),
    ] = False,
    grace: Grace = 10.0,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Share the work among this many processes: one per GPU, or on CPU cores.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train, test and save a model from a recipe."""

    def work() -> None:
        from hftransfer.jobs import run as pipeline

        if processes is not None and processes > 1:
            from hftransfer.jobs.launch import launch

            # Faults are told once here, and not by every process.
            pipeline.require_sound(recipe, overrides or [], resume=resume)
            flags = {"overwrite": overwrite, "resume": resume, "json": as_json, "quiet": quiet, "debug": debug}
            to = ["--out", str(out)] if out is not None else []
            chosen = [f"--{flag}" for flag, given in flags.items() if given]
            raise SystemExit(launch(processes, ["run", recipe, *(overrides or []), *to, *chosen, f"--grace={grace}"]))
        from hftransfer.jobs.launch import end_with_launcher
        from hftransfer.report.tables import results_table
        from hftransfer.training.interrupts import listening

        # Before the long work: the process that started this one may be killed at any time.
        end_with_launcher()
        with listening(grace):
            result = pipeline.run(
                recipe, overrides or [], out=out, overwrite=overwrite, resume=resume, progress=_progress(quiet=quiet)
            )
        if not _is_first_process():
            return
        if as_json:
            print(printable_json(pipeline.as_json(result)))
        else:
            _say(results_table(result.metrics, result.folder))

    _guarded(work, debug=debug)


@app.command()
def init(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA [KEY=VALUE]...",
            help="A folder of classes, a table, or a Hub id; and data settings, such as label_column=sentiment.",
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="The same as DATA.")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="image-classification, text-classification, text-generation, question-answering, …; found if left out."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The pretrained model; a bundled one if left out.")] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("recipe.yaml"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look at your data, and write a first recipe for it."""

    def work() -> None:
        from hftransfer.jobs.drafts import init as write_first

        source, *settings = [*([data] if data is not None else []), *(words or [])] or [""]
        if not source:
            raise RecipeError(must_be("DATA", "a folder of classes, a table, or a Hub id", "none"))
        path = write_first(source, task=task, model=model, out=out, settings=settings, progress=_progress(quiet=quiet))
        _say(path.read_text(encoding="utf-8"))
        print(f"{path} is written. Next: hftransfer check {path}, then hftransfer run {path}")

    _guarded(work, debug=debug)


@app.command()
def check(
    recipe: RecipeName,
    overrides: Overrides = None,
    with_audit: Annotated[
        bool, typer.Option("--audit", help="Also report duplicates, leaks and likely wrong labels (hftransfer audit).")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Validate a recipe, its data (every image) and the files of its model, without training."""

    def work() -> None:
        from hftransfer.adapters.bundled import hash_ahead
        from hftransfer.base.extras import require_extra
        from hftransfer.recipe import load_recipe

        if with_audit:
            require_extra("audit", "hftransfer check --audit")
        unsound = None
        try:
            loaded = load_recipe(recipe, overrides or [])
            hash_ahead(loaded.recipe.model.name)  # meanwhile more is imported
            from hftransfer.jobs import run as pipeline
            from hftransfer.jobs.early import notes_on_licenses
            from hftransfer.report.tables import data_table

            splits = pipeline.check_loaded(loaded, None, _progress(quiet=quiet))
            _say(data_table(splits, loaded.recipe.chosen_task.reader.inputs))
            print("The recipe and its data are sound.")
            for note in notes_on_licenses(loaded.recipe):
                _say(f"Note: {note}.")
            for note in pipeline.not_looked_at(loaded.recipe):
                print(f"Not checked: {note}")
        except DataError as error:  # the audit is of use all the more
            unsound = error
        if with_audit:
            from hftransfer.auditing.sheets import audit_table
            from hftransfer.jobs.audit import audit as audit_data

            _say(audit_table(audit_data(recipe, overrides or [], progress=_progress(quiet=quiet))))
        if unsound is not None:
            raise unsound

    _guarded(work, debug=debug)


@app.command()
def audit(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The folder for tables and pictures (default: audit).")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find problems in data: unreadable files, duplicates, leaks, likely wrong labels, oddities."""

    def work() -> None:
        from hftransfer.auditing.sheets import audit_table, write_audit
        from hftransfer.base.run_folder import new_folder
        from hftransfer.jobs.audit import audit as audit_data

        with new_folder(out, "audit") as folder:
            found = audit_data(recipe, overrides or [], progress=_progress(quiet=quiet))
            write_audit(folder.draft, found, Path(recipe).stem)
        _say(audit_table(found))
        print(folder.path / "audit.html")

    _guarded(work, debug=debug)


@app.command()
def show(
    recipe: RecipeName,
    overrides: Overrides = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what differs from the defaults, as a recipe of its own.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the resolved recipe, each value marked recipe, default or override."""

    def work() -> None:
        from hftransfer.recipe import changed_settings, load_recipe, settings_with_origin

        loaded = load_recipe(recipe, overrides or [])
        if changed:
            lines = changed_settings(loaded)
        else:
            settings = settings_with_origin(loaded)
            lines = [(f"{key}: {json.dumps(value, ensure_ascii=False)}", origin) for key, value, origin in settings]
        width = max(len(text) for text, _ in lines)
        for text, origin in lines:
            _say(f"{text:<{width}}  # {origin}" if origin else text)

    _guarded(work, debug=debug)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="recipes|models|tasks|strategies")] = "recipes", debug: Debug = False
) -> None:
    """List the available recipes, models, tasks or strategies."""

    def work() -> None:
        for line in _listed(what):
            print(line)

    _guarded(work, debug=debug)


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="The name of a shipped recipe.", autocompletion=recipes_like)],
    dest: Annotated[Path, typer.Argument(help="A file or folder.")] = Path(),
    debug: Debug = False,
) -> None:
    """Copy a shipped recipe, to change it."""

    def work() -> None:
        from hftransfer.recipe import find_recipe

        source = find_recipe(name)
        target = dest / source.name if dest.is_dir() else dest
        if target.exists():
            raise OutputError(must_be(f"the copy {target}", "a new file", "an existing one", "Name another."))
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise OutputError(must_be(f"the copy {target}", "writable", error.strerror)) from error
        print(target)

    _guarded(work, debug=debug)


@app.command()
def predict(
    model: ModelName,
    inputs: Inputs = None,
    column: Column = None,
    pair_column: PairColumn = None,
    question: Question = None,
    context: Context = None,
    pair: Pair = None,
    labels: Annotated[
        str | None, typer.Option(help='For a dual encoder: the labels to choose between ("cat,dog").')
    ] = None,
    prompt: Prompts = None,
    threshold: Threshold = None,
    top: Annotated[int | None, typer.Option(min=1, help="Show this many labels, the most probable first.")] = None,
    coverage: Annotated[
        float | None, typer.Option(help="Show a set of labels that includes the true one this often, such as 0.9.")
    ] = None,
    unknown: Annotated[
        float | None,
        typer.Option(help="Answer 'none of these' if this share of training examples is less unusual, such as 0.99."),
    ] = None,
    base: Base = None,
    revision: Annotated[str | None, typer.Option(help="For a Hub id: a branch, tag or commit.")] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a table, one row for each input; - prints it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="For segmentation: write masks into this folder, as PNG.")] = None,
    overlay: Overlay = False,
    tile: Tile = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    seed: Annotated[int | None, typer.Option(help="For prompts: the seed for sampling.")] = None,
    as_json: Json = False,
    precision: Precision = "fp32",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict labels of images or texts, answer questions, or continue texts, with a trained model."""

    def work() -> None:
        from hftransfer.predictors.command_line import PredictRequest, predict_inputs

        _require_precision(precision)
        asked = PredictRequest(
            inputs=tuple(inputs or ()),
            column=column,
            pair_column=pair_column,
            question=question,
            context=context,
            pair=pair,
            labels=labels,
            prompts=tuple(prompt or ()),
            threshold=threshold,
            top=top,
            coverage=coverage,
            unknown=unknown,
            csv=csv,
            out=out,
            overlay=overlay,
            tile=tile,
            as_json=as_json,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
        import hftransfer

        chosen = _at_newest(model)
        predictor = hftransfer.load(chosen, precision=precision, base=base, revision=revision)  # type: ignore[arg-type]
        predict_inputs(predictor, asked, _progress(quiet=quiet or as_json), sys.stdin)

    _guarded(work, debug=debug)


@app.command()
def embed(
    model: ModelName,
    inputs: Inputs = None,
    out: Annotated[Path, typer.Option(help="A file that ends in .parquet, .npy or .safetensors.")] = _EMBEDDINGS,
    column: Column = None,
    pair_column: PairColumn = None,
    precision: Precision = "fp32",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write embeddings of images or texts: one vector each, from a backbone, dual encoder or trained model."""

    def work() -> None:
        _require_precision(precision)
        from hftransfer.predictors.embedding import EmbedRequest, embed_inputs

        asked = EmbedRequest(inputs=tuple(inputs or ()), column=column, pair_column=pair_column, out=out)
        shape = embed_inputs(_at_newest(model), asked, precision, _progress(quiet=quiet), sys.stdin)  # type: ignore[arg-type]
        print(f"{out}: {shape[0]:,} x {shape[1]:,}")

    _guarded(work, debug=debug)


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="An image file, or words for a dual encoder.")],
    inside: Annotated[
        str, typer.Option("--in", metavar="FOLDER", help="Where to search: a folder, a table, a pattern.")
    ],
    model: Annotated[
        str, typer.Option(help="A backbone, a dual encoder (for words), or a run.")
    ] = "bundled/dual-encoder",
    count: Annotated[int, typer.Option(min=1, help="How many to show.")] = 12,
    column: Column = None,
    out: Annotated[Path | None, typer.Option(help="Write search.html and search.csv into this folder.")] = None,
    as_json: Json = False,
    precision: Precision = "fp32",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the images or texts of a folder that are nearest to an image, or to words."""

    def work() -> None:
        _require_precision(precision)
        from hftransfer.predictors.searching import search as search_in

        progress = _progress(quiet=quiet or as_json)
        found = search_in(
            query,
            inside,
            model=_at_newest(model),
            count=count,
            column=column,
            precision=precision,  # type: ignore[arg-type]
            progress=progress,
        )
        _tell_ranked(found, out, "search", as_json=as_json)

    _guarded(work, debug=debug)


@app.command()
def suggest(
    run: ModelName,
    inputs: Inputs = None,
    count: Annotated[int, typer.Option(min=1, help="How many to choose.")] = 50,
    column: Column = None,
    out: Annotated[Path, typer.Option(help="The folder for suggestions.csv and suggestions.html.")] = _SUGGESTIONS,
    seed: Annotated[int, typer.Option(min=0, help="The seed for clustering.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Choose which unlabelled images or texts to label next: uncertain, typical and diverse ones."""

    def work() -> None:
        from hftransfer.predictors.suggesting import suggest_inputs

        if not inputs:
            raise RecipeError(must_be("what is suggested from", "a folder, a table or files without labels", "none"))
        progress = _progress(quiet=quiet or as_json)
        found = suggest_inputs(_at_newest(run), inputs, column, count, seed, progress)
        _tell_ranked(found, out, "suggestions", as_json=as_json)

    _guarded(work, debug=debug)


@app.command("eval")
def evaluate(
    model: ModelName,
    settings: DataOverrides = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled data, as in a recipe's data.source; the run's own if left out.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="test, validation or train; test where there is one.")] = None,
    label_map: Annotated[
        str | None,
        typer.Option(
            help="How labels of the data map to the model's: position (text-order or natural-order where they differ), "
            "or neg=LABEL_0,pos=LABEL_1."
        ),
    ] = None,
    prompt: Prompts = None,
    threshold: Threshold = None,
    base: Base = None,
    as_json: Json = False,
    precision: Annotated[
        str | None, typer.Option(help="fp32 (as plain transformers), bf16 or auto; the run's own if left out.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Evaluate a trained model again, on the data of its run or on other data."""

    def work() -> None:
        if precision is not None:
            _require_precision(precision)
        from hftransfer.jobs.evaluation import JudgedBy, evaluate_model
        from hftransfer.report.tables import metrics_table
        from hftransfer.tasks.label_map import label_map_of

        metrics = evaluate_model(
            _at_newest(model),
            data,
            settings or [],
            by=JudgedBy(
                split,
                (prompt[0] if len(prompt) == 1 else prompt) if prompt else "simple",
                label_map_of(label_map) if label_map is not None else None,
                threshold,
            ),
            precision=precision,  # type: ignore[arg-type]
            base=base,
            progress=_progress(quiet=quiet or as_json),
        )
        if as_json:
            print(printable_json(json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)))
        else:
            _say(metrics_table(metrics))

    _guarded(work, debug=debug)


@app.command()
def export(
    model: ModelName,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="merged|onnx|keras",
            help="LoRA merged into its base model, a graph of ONNX, or Keras' file.",
        ),
    ] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The folder (default: MODEL's name and the format).")] = None,
    data: Annotated[
        str | None, typer.Option(help="Data for the comparison with PyTorch; the run's own if left out.")
    ] = None,
    base: Base = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Export a trained model to another format."""

    def work() -> None:
        from hftransfer.predictors.export import export as export_model

        chosen = _at_newest(model)
        # Its own check names what may stand here.
        found = export_model(
            chosen, out, format=cast("Form", form), data=data, base=base, progress=_progress(quiet=quiet)
        )
        print(found.folder)
        if found.examples:
            _say(f"largest logit difference: {found.max_difference:.1e} on {found.examples} {found.source}")
        if found.advice:
            _say(found.advice)

    _guarded(work, debug=debug)


@app.command()
def push(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder or a folder of runs (the newest), or a model folder.")
    ],
    repo_id: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="The repository on the Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch, created if it doesn't exist.")] = None,
    license: Annotated[
        str | None,
        typer.Option("--licence", "--license", metavar="NAME", help="The model's licence, such as apache-2.0 or mit."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be uploaded; send nothing.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Upload a trained model to the Hub, as a private repository unless --public is given."""

    def work() -> None:
        from hftransfer.hub.publish import push as push_model

        chosen = _at_newest(run)
        if dry_run:
            upload = push_model(chosen, repo_id, license=license, dry_run=True)
            card = upload.files.get("README.md")
            if isinstance(card, bytes):
                _say(f"{card.decode()}\n")
            for name, size in sorted(upload.sizes.items()):
                _say(f"{size:>14,}  {name}")
            for note in upload.notes:
                _say(f"note: {note}")
            print(f"{upload.size:>14,}  bytes in all; nothing was sent")
            return
        progress = _progress(quiet=quiet)
        pushed = push_model(chosen, repo_id, private=not public, revision=revision, license=license, progress=progress)
        print(pushed.url if pushed.changed else f"{pushed.url}  (nothing new)")

    _guarded(work, debug=debug)


@app.command()
def serve(
    model: ModelName,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    most_mb: Annotated[float, typer.Option(min=0.01, max=1000, help="The largest input, in megabytes.")] = 10.0,
    base: Base = None,
    precision: Precision = "fp32",
    debug: Debug = False,
) -> None:
    """Serve a trained model on this machine only, with a page to try it in the browser, until Ctrl-C."""

    def work() -> None:
        from hftransfer.predictors.serving import serve as serve_model

        serve_model(
            _at_newest(model),
            port=port,
            most_mb=most_mb,
            base=base,
            precision=cast("Precisions", precision),
            tell=lambda address: print(f"{address}  (Ctrl-C stops it)", flush=True),
        )

    _guarded(work, debug=debug)


def _require_precision(precision: str) -> None:
    if precision not in ("auto", "fp32", "bf16"):
        raise RecipeError(must_be("--precision", "auto, fp32 or bf16", f"'{precision}'"))


@app.command()
def compare(
    recipe: RecipeName,
    overrides: Overrides = None,
    strategies: Annotated[
        str | None,
        typer.Option(help="Such as linear-probe,fine-tune:2,fine-tune:all,lora:8; the recipe's if left out."),
    ] = None,
    models: Annotated[str | None, typer.Option(help="Names of models, separated by commas.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2.")] = None,
    shots: Annotated[str | None, typer.Option(help="Training examples per class, such as 4,16,all.")] = None,
    skip_done: Annotated[
        bool, typer.Option("--skip-done", help="Continue the newest comparison of this recipe, or the one in --out.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The folder (default: runs/<recipe>-compare/<time>).")] = None,
    grace: Grace = 10.0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare strategies on the same data: feature extraction, fine-tuning, LoRA; seeds, models, numbers of shots."""

    def work() -> None:
        from hftransfer.study.page import markdown_of
        from hftransfer.study.study import compare as compare_all
        from hftransfer.training.interrupts import listening

        with listening(grace):
            study = compare_all(
                recipe,
                overrides or [],
                strategies=_parts_of(strategies),
                models=_parts_of(models),
                seeds=_numbers("--seeds", seeds),
                shots=[one if one == "all" else _numbers("--shots", one)[0] for one in _parts_of(shots)],
                out=out,
                skip_done=skip_done,
                progress=_progress(quiet=quiet),
            )
        _say(markdown_of(study))
        print(study.folder / "comparison.html")
        if study.failed:
            raise SystemExit(1)

    given = {"--strategies": strategies, "--models": models, "--seeds": seeds, "--shots": shots, "--out": out}
    options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    command = shlex.join(["hftransfer", "compare", recipe, *(overrides or []), *options, "--skip-done"])
    _guarded(work, debug=debug, then=f"finished runs are kept; continue with: {command}")


def _parts_of(given: str | None) -> list[str]:
    return [part.strip() for part in (given or "").split(",") if part.strip()]


def _numbers(option: str, given: str | None) -> list[int]:
    listed = _parts_of(given)
    wrong = [part for part in listed if not part.isdigit()]
    if wrong:
        raise RecipeError(must_be(option, "whole numbers, separated by commas", f"'{wrong[0]}'"))
    return [int(part) for part in listed]


@app.command()
def explain(
    model: ModelName,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]... [INPUT]...",
            help="Images, texts or questions, as in predict; more runs are explained on them side by side.",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="auto, gradcam, gradcam++, hirescam, layercam, xgradcam, eigencam, occlusion or rollout."),
    ] = "auto",
    label: Annotated[str | None, typer.Option(help="The label to explain; the predicted one if left out.")] = None,
    labels: Annotated[
        str | None, typer.Option(help='For a dual encoder: prompts, such as "a photo of a cat,a photo of a dog".')
    ] = None,
    column: Column = None,
    pair_column: PairColumn = None,
    question: Question = None,
    context: Context = None,
    pair: Pair = None,
    region: Annotated[
        str | None, typer.Option(help="For segmentation: the part to explain, such as 0.2,0.4,0.5,0.9 (left, top, …).")
    ] = None,
    truth: Annotated[bool, typer.Option(help="Test each map by deletion and insertion, against random order.")] = False,
    out: Annotated[Path | None, typer.Option(help="The folder (default: explanations).")] = None,
    base: Base = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show which parts of an image, a text or a context a model's answer rests on."""

    def work() -> None:
        import hftransfer

        predictor = hftransfer.load(_at_newest(model), base=base)
        from hftransfer.attribution.command_line import ExplainRequest, explain_inputs, parted

        others, rest = parted(inputs or (), predictor.reader)
        models = {model: predictor} | {one: hftransfer.load(_at_newest(one), base=base) for one in others}
        asked = ExplainRequest(
            inputs=tuple(rest),
            label=label,
            labels=tuple(_parts_of(labels)),
            method=method,
            truth=truth,
            region=region,
            column=column,
            pair_column=pair_column,
            question=question,
            context=context,
            pair=pair,
            out=out,
        )
        print(explain_inputs(models, asked, _progress(quiet=quiet), sys.stdin) / "explanations.html")

    _guarded(work, debug=debug)


@app.command("zero-shot")
def zero_shot(
    model: Annotated[str, typer.Argument(help="A Hub id, a folder, open_clip:NAME/TAG or bundled/dual-encoder.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    labels: Annotated[str, typer.Option(help='The labels to choose between, such as "cat,dog,bicycle".')],
    prompt: Annotated[
        list[str] | None,
        typer.Option(help='A template such as "a photo of a {}.", or a set of them; may be repeated.'),
    ] = None,
    as_json: Json = False,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or auto.")] = "fp32",
    debug: Debug = False,
) -> None:
    """Choose between labels for images, without training, with a model like CLIP."""

    def work() -> None:
        _require_precision(precision)
        from hftransfer.adapters.checkpoint import find_checkpoint
        from hftransfer.predictors.command_line import PredictRequest, predict_inputs

        # A name that is misspelt is told at once.
        find_checkpoint(model)  # before what takes time to import
        from hftransfer.predictors.dual import dual_predictor

        asked = PredictRequest(inputs=tuple(images), labels=labels, prompts=tuple(prompt or ()), as_json=as_json)
        predict_inputs(dual_predictor(model, precision), asked, _progress(quiet=as_json), sys.stdin)  # type: ignore[arg-type]

    _guarded(work, debug=debug)


_RUNS = Path("runs")


@runs_app.callback()
def runs(
    context: typer.Context,
    folder: Annotated[Path, typer.Option("--in", metavar="FOLDER", help="The folder with the runs.")] = _RUNS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List earlier runs, the newest first; or show, compare or delete some."""

    def work() -> None:
        from hftransfer.jobs.runs import list_runs, runs_table

        # Before the first run there is no such folder, which is no fault.
        found = list_runs(folder) if folder.exists() or folder != _RUNS else []
        if as_json:
            print(printable_json(json.dumps({"runs": [one.plain() for one in found]}, indent=2, ensure_ascii=False)))
        elif found:
            _say(runs_table(found))
        else:
            _say(f"No runs in the folder {folder}. Name another: hftransfer runs --in FOLDER")

    if context.invoked_subcommand is None:
        _guarded(work, debug=debug)


@runs_app.command("show")
def show_run(run: RunName, as_json: Json = False, debug: Debug = False) -> None:
    """Show a run: its settings, its scores and where its files are."""

    def work() -> None:
        from hftransfer.jobs.runs import find_run, metrics_of
        from hftransfer.jobs.runs import show_run as run_in_words

        folder = find_run(run)
        if as_json:
            told = {"folder": str(folder), **metrics_of(folder)}
            print(printable_json(json.dumps(told, indent=2, ensure_ascii=False)))
        else:
            _say(run_in_words(folder))

    _guarded(work, debug=debug)


@runs_app.command("compare")
def compare_two(first: RunName, second: RunName, as_json: Json = False, debug: Debug = False) -> None:
    """Compare two runs on the same test examples: the difference in scores, and in settings."""

    def work() -> None:
        from hftransfer.study.paired import compare_runs, paired_table

        found = compare_runs(first, second)
        if as_json:
            print(printable_json(json.dumps(found.plain(), indent=2, ensure_ascii=False)))
        else:
            _say(paired_table(found))

    _guarded(work, debug=debug)


@runs_app.command("delete")
def delete_runs(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="The folder of each run.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Delete runs: only the files that a run wrote, never others in its folder."""

    def work() -> None:
        from hftransfer.jobs.runs import delete_run, require_run, size_of

        folders = list(dict.fromkeys(require_run(run) for run in runs))  # all are there before one goes
        sizes = {str(folder): size_of(folder) for folder in folders}
        if not as_json:
            for folder, size in sizes.items():
                _say(f"{folder}  {size / 1e6:,.1f} MB")
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise RecipeError(must_be("--yes", "given when there is no terminal to ask in", "none"))
            typer.confirm("Delete permanently?", abort=True)
        stayed = [str(left) for folder in folders for left in delete_run(folder)]
        if as_json:
            deleted = [{"folder": folder, "bytes": size} for folder, size in sizes.items()]
            told = {"deleted": deleted, "left": stayed}
            print(printable_json(json.dumps(told, indent=2, ensure_ascii=False)))
            return
        for left in stayed:
            _say(f"{left} is not a file of the run and is kept")

    _guarded(work, debug=debug)


@app.command("open")
def open_page(run: RunName, debug: Debug = False) -> None:
    """Open the page of a run, a comparison, an audit or an explanation in the browser, and print its path."""

    def work() -> None:
        import webbrowser

        from hftransfer.base.runs import own_page
        from hftransfer.jobs.runs import page_of

        page = own_page(run) or page_of(run)
        print(page)
        webbrowser.open(page.resolve().as_uri())

    _guarded(work, debug=debug)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to fetch: smollm2.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download a bundled model that is not installed by default, and keep it in the cache."""

    def work() -> None:
        from hftransfer.adapters.bundled import fetch as fetch_bundled

        model, folder = fetch_bundled(name, _progress(quiet=quiet).line)
        print(f"{model} is in {folder}")

    _guarded(work, debug=debug)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Clear the cache.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only activations, models or data.")] = None,
    older_than_days: Annotated[float, typer.Option(min=0, help="Only what is older than this many days.")] = 0.0,
    debug: Debug = False,
) -> None:
    """Show or clear the cache for later runs; everything in it can be computed again."""

    def work() -> None:
        from hftransfer.base import cache as store

        if kind is not None and kind not in store.KINDS:
            raise RecipeError(must_be("--kind", " or ".join(store.KINDS), f"'{kind}'", nearest(kind, store.KINDS)))
        kinds = (kind,) if kind else store.KINDS
        if clear:
            cleared = store.clear_unused(kinds, older_than_days)
            print(f"{cleared.freed_bytes / 2**20:,.1f} MiB freed")
            for name in cleared.in_use:
                print(f"  {name} was skipped: a run uses it")
        print(store.cache_root())
        for entry in store.usage():
            print(f"  {entry.kind:<12} {entry.entries:>6} entries {entry.size_bytes / 2**20:>10,.1f} MiB")

    _guarded(work, debug=debug)


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes."""
    from hftransfer.recipe import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))


@app.command()
def env() -> None:
    """Print versions and hardware, for bug reports."""
    from hftransfer.jobs.identity import environment
    from hftransfer.training.devices import choose_compute

    print(json.dumps(environment(choose_compute("auto", None)), indent=2))


@app.command()
def doctor() -> None:
    """Check the installation: what this machine has, and a small run of each task, offline, in about a minute."""

    def work() -> None:
        from hftransfer.jobs.doctor import doctor as examine

        if not all(one.works for one in examine(tell=lambda one: print(one, flush=True))):
            raise SystemExit(1)

    _guarded(work, debug=False)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not have an encoding
            stream.reconfigure(errors="backslashreplace")
    from hftransfer.base.collection import rarely_collected

    try:
        with rarely_collected():
            app()
    except BrokenPipeError:  # what we print goes to a program that has read enough
        # Python flushes standard output once more when it ends, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _listed(what: str) -> list[str]:
    match what:
        case "recipes":
            from hftransfer.base.shipped import shipped_recipes

            return [f"{name:<28} {_headline(path)}" for name, path in shipped_recipes().items()]
        case "models":
            from hftransfer.adapters.bundled import BUNDLED_MODELS
            from hftransfer.adapters.families import families_of

            bundled = [f"{name:<28} {bundle.source}" for name, bundle in BUNDLED_MODELS.items()]
            general = "of transformers, from a local folder or the Hub; known families: "
            return [
                *bundled,
                f"{'any image classifier':<28} {general}{', '.join(families_of('image'))}",
                f"{'any text model':<28} {general}{', '.join(families_of('text'))}",
                f"{'open_clip:NAME/TAG':<28} the image tower of an open_clip model; open_clip:local-dir:PATH too",
                f"{'keras:NAME':<28} of keras.applications, on torch; keras:local-dir:PATH for a .keras or .h5 file",
            ]
        case "tasks":
            from hftransfer.tasks import TASKS

            return [f"{name:<28} {(task.__doc__ or '').splitlines()[0]}" for name, task in TASKS.items()]
        case "strategies":
            from hftransfer.strategies import STRATEGIES

            return [f"{name:<28} {(kind.__doc__ or '').splitlines()[0]}" for name, kind in STRATEGIES.items()]
    known = ("recipes", "models", "tasks", "strategies")
    raise RecipeError(must_be("what to list", " or ".join(known), f"'{what}'", nearest(what, known)))


def _headline(recipe: Path) -> str:
    """Return the first line of a recipe's header that is no command."""
    for line in recipe.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and text and not text.startswith(("hftransfer ", "expected: ")):
            return text
    return ""


# RANK is what torchrun and our own launcher set: of several processes one speaks.
def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _progress(*, quiet: bool) -> Progress:
    from hftransfer.base.progress import Progress

    return Progress(None if quiet else sys.stderr)


def _at_newest(reference: str) -> str:
    """Return a run or a model as it is named; of a folder of runs the newest, which is told."""
    from hftransfer.base.runs import at_newest

    chosen = at_newest(reference)
    if chosen != reference:
        print(printable(f"{reference}: its newest run, {chosen}"), file=sys.stderr)
    return chosen


def _tell_ranked(found: Ranked[Match] | Ranked[Suggestion], out: Path | None, name: str, *, as_json: bool) -> None:
    """Print inputs in their order, and write their table and sheet where there is a folder for them.

    Raises:
        DataError: others can't be read, which is told after all of that.
    """
    files = found.save(out, name) if out is not None else []
    if as_json:
        print(printable_json(json.dumps(found.plain(), indent=2, ensure_ascii=False, allow_nan=False)))
    else:
        for line in [*found.lines(), *map(str, files)]:
            _say(line)
    if found.faults:
        raise DataError(*found.faults)


def _say(text: str) -> None:
    """Print what may hold names of files and classes, which can't steer the terminal."""
    print(printable(text))


def _guarded(work: Callable[[], None], *, debug: bool, then: str = "") -> None:
    """Do the work, and tells faults in the user's input without a traceback, with exit status 2."""
    from hftransfer.training.interrupts import Interrupted

    try:
        work()
    except HftransferError as error:
        if debug:
            raise
        for fault in error.faults if _is_first_process() else ():
            print(printable(f"error: {fault}"), file=sys.stderr)
        raise SystemExit(error.exit_status) from error
    # An OSError, too, but no fault: main ends quietly.
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a folder that vanished: no fault of the input, no traceback either
        if debug:
            raise
        place = f": {error.filename}" if error.filename else ""
        print(printable(f"error: {error.strerror or error}{place}"), file=sys.stderr)
        raise SystemExit(1) from error
    except Interrupted as error:
        if _is_first_process():
            print(printable(f"stopped by {error}; {then or _how_to_go_on(error)}"), file=sys.stderr)
        raise SystemExit(error.exit_status) from None
    except KeyboardInterrupt as error:
        print(printable(f"interrupted; {then or _how_to_go_on(error)}"), file=sys.stderr)
        # As shells tell of a program that SIGINT ended: 128 + 2.
        raise SystemExit(130) from None


def _how_to_go_on(error: BaseException) -> str:
    folder = getattr(error, "run_folder", None)
    if folder is None:
        return "the cache is kept"
    from hftransfer.jobs.run import how_to_go_on

    return how_to_go_on(folder)


if __name__ == "__main__":
    main()
