"""What a recipe says about which rows stay: cleaning, the choice among a problem's traces, the selection over all of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from curation.decontaminate import MIN_COVERAGE
from curation.problem_filters import ProblemRule
from curation.records import Outcome
from curation.trace_filters import TraceRule
from factory.strict import Strict


def _ascend(window: Any) -> Any:
    if window.low is not None and window.high is not None and window.low > window.high:
        raise ValueError(f"low {window.low:g} is above high {window.high:g}: nothing lies between")
    return window


class BenchmarkFrom(Strict):
    """A set of test questions: a file, or a data set on the Hub."""

    name: str
    path: str | None = None
    repo: str | None = None
    config: str | None = None
    split: str = "test"
    files: list[str] = []  # of the repository, read as they are instead of a split
    revision: str | None = None
    column: str | None = None


class PassRate(Strict):
    """Keep problems whose pass rate lies in a window; both ends belong to it."""

    table: str | None = None  # another run or its difficulty.parquet; None: this run's own verdicts
    models: list[str] = []  # whose samples count, summed; empty: all in the table
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)

    _ends = model_validator(mode="after")(_ascend)


class Settle(Strict):
    """A window of pass rates. A problem is settled where its 95 percent interval lies inside it, or wholly on one side of it."""

    low: float = Field(0.2, ge=0, le=1)
    high: float = Field(0.8, ge=0, le=1)

    _ends = model_validator(mode="after")(_ascend)


class Difficulty(Strict):
    """Pass rates: what counts as right in this run's own, and which other ones its rules go by."""

    table: str | None = None  # another run or its difficulty.parquet, for every rule that names no table of its own
    verdicts: Literal["combined", "rule"] = "combined"  # combined: what the judge accepts is right too


class ModelPrice(Strict):
    """US dollars for a million tokens, where configs/prices.yaml does not know them."""

    input_usd: float = Field(ge=0)
    output_usd: float = Field(ge=0)


class Window(Strict):
    """Both ends belong to it; None: open."""

    low: float | None = None
    high: float | None = None

    _ends = model_validator(mode="after")(_ascend)


class Label(Strict):
    """What is to be known of each problem before it is sampled: given by the source, or by a model asked with a rubric."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")  # key of `meta` that holds it from then on
    rubric: Literal["msc", "difficulty"]  # class of the Mathematics Subject Classification; 1 to 10, the scale of contests
    given: str | None = None  # key of `meta` with the source's own label, None: `name`; where a problem has one nobody is asked
    judge: str | None = None  # openai:MODEL@URL, vllm:MODEL or hf:MODEL; None: given labels alone
    samples: int = Field(1, ge=1)  # replies: the commonest class, or the mean level, counts
    temperature: float | None = Field(0.0, ge=0)
    max_tokens: int = Field(4_096, ge=1)  # thinking included
    price: ModelPrice | None = None
    low: float | None = None  # problems under it, and those without a level, are dropped
    high: float | None = None
    windows: dict[str, Window] = {}  # by source, in place of low and high, which the other sources keep

    _ends = model_validator(mode="after")(_ascend)


class Clean(Strict):
    filters: list[ProblemRule] = []  # rules of curation.problem_filters
    require_gold: bool = True  # False: problems without a gold stay; their traces can not be verified (choose.without_gold)
    exact_duplicates: bool = True
    near_duplicates: float | None = Field(0.8, gt=0, le=1)  # Jaccard of word shingles; None: leave them in
    semantic_duplicates: float | None = Field(None, gt=0, le=1)  # cosine, of rows that agree in gold, numbers and symbols
    semantic_model: str | None = None  # embedding model: NAME, NAME@REVISION or folder; None: hashed TF-IDF with SVD
    neighbours: float | None = Field(None, gt=0, le=1)  # cosine to a benchmark question of the same numbers, by semantic_model
    benchmarks: list[BenchmarkFrom] = []
    rule: Literal["coverage", "ngram", "verbatim", "fuzzy"] = "coverage"  # verbatim: open-r1's words, LaTeX and commas included
    ngram: int = Field(8, ge=2)  # words
    min_coverage: float = Field(MIN_COVERAGE, gt=0, le=1)  # coverage: least share of a question's distinctive text
    # OpenThoughts: rapidfuzz ratio of the whole texts, of 100: a share such as 0.95 would match every row with any question.
    fuzzy_ratio: float = Field(95.0, gt=1, le=100)
    check_gold: bool = True  # a gold that its own verifier refuses is dropped before a token is spent on it
    pass_rate: PassRate | None = None  # by a table of another run, before a token is spent


class Choose(Strict):
    """Which traces of a problem become examples."""

    per_problem: int = Field(1, ge=1)
    rule: Literal["first", "shortest", "longest", "random"] = "random"
    seed: int = 0
    outcomes: list[Outcome] = Field(["correct"], min_length=1)  # s1K keeps wrong ones too
    without_gold: bool = False  # take traces of problems that have no gold; nothing speaks for or against them
    teachers: list[str] = []  # whose traces may become examples; empty: all. The others still count for difficulty
    filters: list[TraceRule] = []  # rules of curation.trace_filters
    near_duplicates: float | None = Field(None, gt=0, le=1)  # Jaccard of 5-word runs to a trace of the same problem
    semantic_duplicates: float | None = Field(None, gt=0, le=1)  # cosine to a trace of the same problem
    semantic_model: str | None = None  # that embeds it, by name or folder; None: hashed TF-IDF with SVD over the shard's traces


class SelectS1k(Strict):
    rule: Literal["s1k"]
    size: int = Field(1_000, ge=1)  # more where more are taken before the draw
    mode: Literal["paper", "notebook"] | None = None  # None: notebook where benchmark_sources are named, else paper
    seed: int = 0
    domain: str  # column, or key of meta, whose values are the domains drawn from
    source: str = "source"  # likewise, for keep_sources, keep_longer and benchmark_sources
    table: str | None = None  # pass rates of the small models; None: this run's own
    models: list[str]  # a problem that one of them solves is too easy; several samples: solved once is solved
    keep_sources: list[str] = []  # correct rows of these are taken before the draw
    keep_longer: dict[str, int] = {}  # likewise of these, with a thinking of more characters
    benchmark_sources: list[str] = []  # notebook: their domains weigh the last 30 percent, the first in full, others half

    @model_validator(mode="after")
    def _notebook_has_benchmarks(self) -> SelectS1k:
        if self.mode == "notebook" and not self.benchmark_sources:
            raise ValueError("mode notebook weighs domains by benchmark_sources: wanted some, or mode: paper")
        return self


class SelectLimo(Strict):
    rule: Literal["limo"]
    size: int = Field(800, ge=1)
    weights: dict[Literal["characters", "words", "verifying", "tentative", "connective"], float] = {}  # empty: the original's


class SelectPassRate(Strict):
    rule: Literal["pass_rate"]
    table: str | None = None  # another run or its difficulty.parquet; None: this run's own verdicts
    models: list[str] = []
    preset: Literal["open-r1", "intellect", "oreal", "deepscaler", "limo"] | None = None
    low: float = Field(0.0, ge=0, le=1)  # without a preset: a window to which both ends belong
    high: float = Field(1.0, ge=0, le=1)
    surely: bool = False  # the whole 95 percent interval must lie in the band, not the rate alone

    _ends = model_validator(mode="after")(_ascend)

    @model_validator(mode="after")
    def _one_window(self) -> SelectPassRate:
        if self.preset and (self.low, self.high) != (0.0, 1.0):
            raise ValueError(f"preset {self.preset} has bands of its own: wanted preset, or low and high")
        return self


class SelectPerProblem(Strict):
    rule: Literal["per_problem"]
    k: int = Field(1, ge=1)
    by: Literal["first", "shortest", "longest", "random", "score"] = "score"
    seed: int = 0


class SelectMixture(Strict):
    rule: Literal["mixture"]
    by: str  # source, domain, teacher, outcome, characters, words, pass_rate, or a key of meta (meta.domain: the source's own)
    size: int | None = Field(None, ge=1)  # None: as many as the scarcest group allows
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}  # empty: alike
    quotas: dict[str, Annotated[int, Field(ge=0)]] = {}  # rows of each group at most; then size and weights say nothing
    # Cut a number into buckets, ascending: [0.2, 0.8] makes <0.2, 0.2-0.8 and >=0.8.
    edges: list[float] = []
    table: str | None = None  # for pass_rate
    models: list[str] = []
    seed: int = 0

    @model_validator(mode="after")
    def _shares_and_buckets(self) -> SelectMixture:
        if self.weights and not any(self.weights.values()):
            raise ValueError("all weights are 0: wanted one above it")
        if not all(low < high for low, high in pairwise(self.edges)):
            raise ValueError("edges must ascend: wanted each above the one before it")
        return self


class SelectDiverse(Strict):
    rule: Literal["diverse"]
    size: int = Field(ge=1)
    method: Literal["k_centre", "facility_location"] = "k_centre"
    of: Literal["problem", "trace"] = "problem"  # which text the vectors are of
    model: str | None = None  # embedding model: NAME, NAME@REVISION or folder; None: hashed TF-IDF with SVD
    dimensions: int = Field(128, ge=2)  # of the SVD
    seed: int = 0


Select = Annotated[
    SelectS1k | SelectLimo | SelectPassRate | SelectPerProblem | SelectMixture | SelectDiverse, Field(discriminator="rule")
]
