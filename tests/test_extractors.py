"""VGG16's features and FaceNet's identity, with random weights of the published shapes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gantools.evaluation import facenet, features, vgg16
from gantools.io import weights
from gantools.report import Usage

# Table 1, D of Simonyan and Zisserman: channels of the 3x3 convolutions, M a 2x2 pooling; the
# places are those of torchvision's `features`.
LAYERS = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def vgg_state() -> dict[str, Tensor]:
    """He-initialised tensors of torchvision's names; the large ones repeat a row or a part."""
    generator = torch.Generator().manual_seed(0)
    state, place, inputs = {}, 0, 3
    for layer in LAYERS:
        if layer == "M":
            place += 1
            continue
        shape = (int(layer), inputs, 3, 3)
        scale = (2 / (9 * inputs)) ** 0.5
        state[f"features.{place}.weight"] = torch.randn(shape, generator=generator) * scale
        state[f"features.{place}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
        place, inputs = place + 2, shape[0]
    for place, outputs, inputs in ((0, 4096, 25088), (3, 4096, 4096), (6, 1000, 4096)):
        some = torch.randn(64, inputs, generator=generator) * (2 / inputs) ** 0.5
        state[f"classifier.{place}.weight"] = some.repeat(-(-outputs // 64), 1)[:outputs]
        state[f"classifier.{place}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    return state


@pytest.fixture(scope="module")
def vgg() -> dict[str, Tensor]:
    return vgg_state()


def plain_vgg16(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """fc2 after its relu, written out, of uint8 [N, 3, 224, 224]."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x, place = (images.float() / 255 - mean) / std, 0
    for layer in LAYERS:
        if layer == "M":
            n, c, h, w = x.shape
            x, place = x.view(n, c, h // 2, 2, w // 2, 2).amax((3, 5)), place + 1
            continue
        kernel, bias = (state[f"features.{place}.{part}"] for part in ("weight", "bias"))
        x = functional.conv2d(x, kernel, bias, padding=1).clamp(min=0)
        place += 2
    x = x.flatten(1)
    for place in (0, 3):
        weight, bias = (state[f"classifier.{place}.{part}"] for part in ("weight", "bias"))
        x = (x @ weight.T + bias).clamp(min=0)
    return x


def test_vgg16_equals_a_plain_one(vgg: dict[str, Tensor]) -> None:
    """The layers in their order, padding, pooling, ImageNet's normalisation, relu at the end."""
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    found, wanted = vgg16.Vgg16(vgg)(images), plain_vgg16(vgg, images)
    assert found.shape == (1, vgg16.DIM) and (found >= 0).all() and (found > 0).any()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.max().item())


def test_vgg16_equals_torch_fidelity_picture_by_picture(
    vgg: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `vgg16` extractor on single pictures of odd sizes, our batches of them, to 1e-4."""
    import torch_fidelity.feature_extractor_vgg16 as module

    with monkeypatch.context() as m:
        m.setattr(torch, "load", lambda *a, **k: vgg)
        m.setattr(module.torchvision.models, "vgg16", _meta_vgg16(module.torchvision.models.vgg16))
        theirs = module.FeatureExtractorVGG16("vgg16", ["fc2_relu"], "file")
    net = vgg16.Vgg16(vgg)
    extract = features.Extractor("vgg16", "0", vgg16.DIM, "theirs", "cpu", net)
    generator = np.random.default_rng(0)
    sizes = ((32, 32), (32, 32), (27, 41))
    given = [(str(i), generator.integers(0, 256, (*s, 3), np.uint8)) for i, s in enumerate(sizes)]
    single = [theirs(torch.from_numpy(p).permute(2, 0, 1)[None])[0].numpy() for _, p in given]
    found = np.concatenate([*features.of_pictures(given, extract)])
    np.testing.assert_allclose(found, np.concatenate(single), atol=1e-4 * np.max(single))


def _meta_vgg16(make: Callable) -> Callable:
    def made() -> torch.nn.Module:
        with torch.device("meta"):
            net = make(weights=None)
        load = net.load_state_dict
        net.load_state_dict = lambda state: load(state, assign=True)  # type: ignore[method-assign]
        return net

    return made


def test_other_tensors_are_refused(vgg: dict[str, Tensor], tmp_path: Path) -> None:
    """A missing tensor, another shape, a list: one line, nothing is guessed."""
    small = {name: t for name, t in vgg.items() if name.startswith("features.0.")}
    for state in (small, [1, 2]):
        torch.save(state, tmp_path / "x.pth")
        for load in (vgg16.load, facenet.load):
            with pytest.raises(Usage, match=r"x\.pth: not the tensors of"):
                load(tmp_path / "x.pth")
    with pytest.raises(RuntimeError, match="size mismatch"):
        vgg16.Vgg16({**vgg, "features.0.weight": torch.zeros(64, 3, 5, 5)})


# ---------------------------------------------------------------------------- identity


@pytest.fixture(scope="module")
def face_state() -> dict[str, Tensor]:
    """Tensors of facenet-pytorch's names and shapes; normalisation as after some training."""
    from facenet_pytorch import InceptionResnetV1

    with torch.device("meta"):
        net = InceptionResnetV1(classify=True, num_classes=facenet.CLASSES)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue  # the published file is older than this entry
        values = torch.randn(t.shape, generator=generator)
        if name.endswith("running_var"):
            values = values.abs() + 0.5
        elif t.ndim > 1:
            values *= (2 / t[0].numel()) ** 0.5
        state[name] = values
    return state


def test_facenet_equals_facenet_pytorch(face_state: dict[str, Tensor]) -> None:
    """The library's own network with its own normalisation; 512 numbers of length 1."""
    from facenet_pytorch import InceptionResnetV1, fixed_image_standardization

    with torch.device("meta"):
        theirs = InceptionResnetV1().eval()
    kept = {name: t for name, t in face_state.items() if not name.startswith("logits")}
    theirs.load_state_dict(kept, assign=True)
    faces = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    net = facenet.FaceNet(face_state)
    with torch.inference_mode():
        wanted = theirs(fixed_image_standardization(faces.float()))
        found = net(faces)
        assert found.shape == (2, facenet.DIM)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
        same, other = (
            facenet.identity(net, faces, faces),
            facenet.identity(net, faces, faces.flip(0)),
        )
    torch.testing.assert_close(same, torch.ones(2))
    assert (other < 0.999999).all() and other[0] == pytest.approx(other[1].item(), rel=1e-5)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def test_identity_of_pairs(
    gt: Callable, tmp_path: Path, face_state: dict[str, Tensor], monkeypatch
) -> None:
    """metrics recon --identity: 1 for the same face; a pair without a face is named, left out."""
    monkeypatch.setenv("GANTOOLS_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    pair = ("metrics", "recon", tmp_path / "a", tmp_path / "b", "--identity")
    sample = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    photo = np.asarray(Image.open(sample).convert("RGB"))
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "face.png").write_bytes(png(photo))
        changed = photo if name == "a" else photo[::-1].copy()
        (tmp_path / name / "other.png").write_bytes(png(changed))
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        (tmp_path / name / "noise.png").write_bytes(png(noise))
    done = gt(*pair)
    assert done.code == 2 and "gantools model fetch facenet" in done.err
    torch.save(face_state, tmp_path / "20180402-114759-vggface2.pt")
    digest = weights.sha256(tmp_path / "20180402-114759-vggface2.pt")
    known = weights.Weights("20180402-114759-vggface2.pt", digest, "a test's")
    monkeypatch.setitem(weights.KNOWN, "facenet", known)
    done = gt(*pair, "--each", "--json")
    assert done.code == 1 and "noise: no face found in the target" in done.err, done.err
    found = json.loads(done.text)
    assert set(found["each"]) == {"face", "other"}
    assert found["each"]["face"]["identity"] == pytest.approx(1, abs=1e-5)
    assert found["each"]["other"]["identity"] < 1 - 1e-5
    each = [row["identity"] for row in found["each"].values()]
    assert found["identity"] == pytest.approx(np.mean(each)) and "identity_ci" in found
    assert found["protocol"]["identity_sha256"] == digest
    assert found["protocol"]["pairs"] == 2
    (tmp_path / "20180402-114759-vggface2.pt").unlink()  # 110 MB
