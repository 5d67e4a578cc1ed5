"""All that can be run, by name."""

from __future__ import annotations

from benchmarks import (
    boundary_cache,
    command_line,
    few_shot,
    fine_tune,
    growth,
    keras_probe,
    limit,
    linear_probe,
    predict,
    question_answering,
    regression,
    segmentation,
    several_labels,
    text_embedding,
    text_generation,
    token_classification,
    whole_job,
    zero_shot,
)

_MODULES = (
    *(linear_probe, text_embedding, fine_tune, few_shot, zero_shot, whole_job, command_line, limit, growth),
    *(predict, question_answering, boundary_cache, several_labels, token_classification, regression, segmentation),
    *(keras_probe, text_generation),
)
BENCHMARKS = {benchmark.name: benchmark for module in _MODULES for benchmark in module.BENCHMARKS}

PROGRAMS = {
    "gpu": "what must hold on a GPU, and frozen passes and steps there beside bare ones and the Trainer's",
    "kill-resume": "runs killed at random moments and resumed, against one that was left alone, bit by bit",
    "pointing": "whether maps of what a model looks at point at the animal they name",
}
