"""What spectrum classify does: features of sets, a classifier of them, judgements (S3.26)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import __version__, options
from gantools.commands import _pairs, _sources, _spectra
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.features import Picture
    from gantools.spectra.classifier import Classifier

FITS = ("loglog", "dzanic")
QUALITIES = (None, *range(1, 96))  # of --jpeg
THRESHOLDS = {"loglog": 0.75, "dzanic": 0.85}
HOW = {
    "loglog": "log b1, b2 of b1 (r/r_c)^b2, least squares of logarithms, S of RGB",
    "dzanic": "b1, y_i, y_f of Dzanic et al.'s script, |DFT| of grey, 200 bins, Nelder-Mead",
}


@dataclass(frozen=True)
class Recipe:
    """How features are made of a picture. jpeg: the quality that it passes through, or None."""

    fit: str
    threshold: float
    jpeg: int | None
    size: _spectra.Size | None = None

    def story(self) -> dict[str, Any]:
        """Its entry in the classifier's file."""
        told = {"fit": self.fit, "threshold": self.threshold, "jpeg": self.jpeg}
        return {**told, "size": list(self.size or ())}

    @classmethod
    def of(cls, classifier: Classifier, name: str) -> Recipe:
        """The recipe that a classifier was trained with; Usage where its file has none."""
        told = classifier.story
        try:
            height, width = map(int, told["size"])
            jpeg = None if told["jpeg"] is None else int(told["jpeg"])
            found = cls(str(told["fit"]), float(told["threshold"]), jpeg, (height, width))
            if found.fit not in FITS or not 0 < found.threshold < 1 or jpeg not in QUALITIES:
                raise ValueError
            if len(classifier.mean) != {"loglog": 2, "dzanic": 3}[found.fit]:
                raise ValueError
            return found
        except (KeyError, TypeError, ValueError):
            raise Usage(
                f"{name}: a classifier that does not say how its features are made"
            ) from None

    def features(self, pictures: list[np.ndarray], device: str) -> np.ndarray:
        """Of uint8 pictures of one size, [n, 2] or [n, 3]."""
        import numpy as np

        from gantools.io.image import through_jpeg
        from gantools.ops.spectrum import frequencies
        from gantools.spectra import dzanic, power_law

        pixels = [_pairs.in_colour(p) for p in pictures]
        if self.jpeg is not None:
            pixels = [through_jpeg(p, self.jpeg) for p in pixels]
        if self.fit == "dzanic":
            return np.array([dzanic.features(p, self.threshold) for p in pixels])
        at = frequencies(*pixels[0].shape[:2])
        return power_law.features(_spectra.spectra_of(pixels, device), at, self.threshold)


@dataclass
class Described:
    """A set's features [n, d], what its pictures are, and its story."""

    features: np.ndarray
    digests: list[str]
    size: _spectra.Size
    story: dict[str, Any]

    def first(self, count: int) -> Described:
        """So many of them."""
        story = {**self.story, "count": count}
        return replace(
            self, features=self.features[:count], digests=self.digests[:count], story=story
        )


def described(
    operand: str | None, asked: _sources.Drawn, recipe: Recipe, num: int, purpose: str = "classify"
) -> Described:
    """At most num pictures of an operand, by chance, or num of the network; Usage for none."""
    import numpy as np

    from gantools.io.image import content
    from gantools.io.source import samples

    source = _sources.open_source(operand, asked)
    if operand is not None:
        some = _pairs.shuffled(samples([operand]), num, asked.seed, purpose)
        source.pictures, source.total = _sources.pictures_of(some, asked), None
    rows, digests = [], []
    size = None
    for group, features in _featured(source, asked, recipe):
        rows.append(features)
        digests += [content(pixels).hex() for _, pixels in group]
        size = group[0][1].shape[:2]
    name = source.story.get("source") or source.story["network"]
    if size is None:
        raise Usage(f"{name}: no picture could be measured")
    found = np.concatenate(rows)
    height, width = size
    return Described(found, digests, (height, width), {**source.story, "count": len(found)})


Group = list["Picture"]


def _featured(
    source: _sources.Source, asked: _sources.Drawn, recipe: Recipe
) -> Iterator[tuple[Group, np.ndarray]]:
    """Neighbours of one size with their features; too small a picture is Usage."""
    device = options.pick_device(asked.device)
    fitting = _spectra.of_first_size(_sources.sized(source), recipe.size)
    for group in _pairs.of_one_size(fitting, asked.batch):
        try:
            yield group, recipe.features([pixels for _, pixels in group], device)
        except SampleError as e:
            raise Usage(f"{group[0][0]}: {e}") from None


def halves(one: Described) -> tuple[Described, Described]:
    """A set, whose order is by chance, as two."""
    count = len(one.digests) // 2
    if not count:
        raise Usage("--halves needs two pictures or more")
    other = replace(one, features=one.features[count:], digests=one.digests[count:])
    return one.first(count), other.first(count)


@dataclass
class Judgement:
    """A classifier, what its kind reached in cross-validation, and the sets that were used."""

    classifier: Classifier
    results: dict[str, Any]
    features: np.ndarray
    generated: np.ndarray


def judgement(
    real: Described, fake: Described, recipe: Recipe, method: Any, count: int, seed: int
) -> Judgement:
    """Accuracy over folds, each judged by the others; the classifier itself is of all pictures."""
    import numpy as np

    from gantools.spectra import classifier

    if real.size != fake.size:
        sizes = " and ".join(map(_spectra.size_name, (real.size, fake.size)))
        raise Usage(f"pictures of {sizes} pixels do not compare: bring them to one size")
    least = min(len(real.digests), len(fake.digests))
    if least < count:
        raise Usage(f"--folds {count}: there are only {least} pictures of a set")
    real, fake = real.first(least), fake.first(least)
    features = np.concatenate([real.features, fake.features])
    generated = np.arange(2 * least) >= least
    fold = np.concatenate(classifier.folds([real.digests, fake.digests], count, seed))
    results = classifier.summary(classifier.judged(features, generated, fold, method), generated)
    story = replace(recipe, size=real.size).story()
    told = {
        "real": real.story,
        "fake": fake.story,
        "features": HOW[recipe.fit],
        **story,
        "size": _spectra.size_name(real.size),
        "classifier": method,
        "folds": count,
        "seed": seed,
        "interval": "95 %, Clopper-Pearson",
        "quantisation": _sources.QUANTISATION,
        "version": f"gantools {__version__}",
    }
    found = classifier.train(features, generated, method, {**story, "judged": results})
    return Judgement(found, {**results, "protocol": told}, features, generated)


def applied(
    model: Path, operand: str | None, asked: _sources.Drawn
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a classifier says of each picture, in their order; and the protocol."""
    from gantools.spectra import classifier

    found = classifier.load(model)
    recipe = Recipe.of(found, model.name)
    source = _sources.open_source(operand, asked, keyed=True)
    rows: list[dict[str, Any]] = []
    for group, features in _featured(source, asked, recipe):
        for (key, _), score in zip(group, found.scores(features).tolist(), strict=True):
            verdict = "generated" if score > 0 else "real"
            rows.append({"key": key, "verdict": verdict, "score": score})
    if not rows:
        raise Usage("no picture could be judged")
    told = {**source.story, "count": len(rows), "model": model.name, "features": HOW[recipe.fit]}
    told |= {**recipe.story(), "size": source.story["size"], "classifier": found.method}
    return rows, {**told, "judged": found.story.get("judged"), "version": f"gantools {__version__}"}
