"""Published weights that gantools reads: file, sha256, address, size and licence of each."""

from __future__ import annotations

from dataclasses import dataclass

_TORCHVISION = "https://download.pytorch.org/models/"
_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
_GITHUB = "https://github.com/"
_BSD3 = "BSD-3-Clause (torchvision)"
_BSD2 = "BSD-2-Clause"


@dataclass(frozen=True)
class Weights:
    """A published file: its path below a weights folder, its sha256, what it is.

    url: where its publisher has it; None where the file was made of a published one. size: bytes,
    None where nobody who downloaded it said. instead: the name of a published file of the same
    numbers, which is read where this one is not there.
    """

    file: str
    sha256: str
    what: str
    url: str | None = None
    size: int | None = None
    licence: str = ""
    instead: str | None = None


KNOWN = {
    "vgg16": Weights(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "torchvision's VGG16",
        _TORCHVISION + "vgg16-397923af.pth",
        553_433_881,
        _BSD3,
    ),
    "alexnet": Weights(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "torchvision's AlexNet",
        _TORCHVISION + "alexnet-owt-7be5be79.pth",
        244_408_911,
        _BSD3,
    ),
    "squeezenet": Weights(
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        "torchvision's SqueezeNet 1.1",
        _TORCHVISION + "squeezenet1_1-b8a52dc0.pth",
        None,
        _BSD3,
    ),
    "lpips-vgg": Weights(
        "lpips_lin/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "LPIPS 0.1 heads for VGG16",
        _LPIPS + "vgg.pth",
        7289,
        _BSD2,
    ),
    "lpips-alex": Weights(
        "lpips_lin/alex.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        "LPIPS 0.1 heads for AlexNet",
        _LPIPS + "alex.pth",
        6009,
        _BSD2,
    ),
    "lpips-squeeze": Weights(
        "lpips_lin/squeeze.pth",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        "LPIPS 0.1 heads for SqueezeNet",
        _LPIPS + "squeeze.pth",
        10_811,
        _BSD2,
    ),
    "inception": Weights(
        "weights-inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "torch-fidelity's Inception of TensorFlow",
        _GITHUB + "toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        95_628_359,
        "Apache-2.0",
        "inception-pytorch-fid",
    ),
    "inception-pytorch-fid": Weights(
        "pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "the same file under the name that pytorch-fid gives it",
        _GITHUB + "mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        95_628_359,
        "Apache-2.0",
    ),
    "facenet": Weights(
        "20180402-114759-vggface2.pt",
        "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        "facenet-pytorch's InceptionResnetV1 of VGGFace2",
        _GITHUB + "timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
        111_898_327,
        "MIT; its training set VGGFace2 has terms of its own",
    ),
    "ir-se50": Weights(
        "recognition_arcface_ir_se50.pth",
        "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
        "ArcFace's IR-SE50 of InsightFace_Pytorch",
        _GITHUB + "xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth",
        175_367_323,
        "MIT; its training set MS-Celeb-1M has terms of its own",
    ),
    "mobilenet": Weights(
        "mobilenet_v2_imagenet_int8.npz",
        "8119765a7bd5a4d8df567fb230f0529803b79a001993795969c9528dff52f70b",
        "MobileNetV2 1.0 224 of ImageNet",
        None,
        2_881_178,
        "Apache-2.0",
        "mobilenet-tflite",
    ),
    "mobilenet-tflite": Weights(
        "mobilenet_v2_1.0_224_quant.tflite",
        "7aad0c74c5e3c06e5eb3c827e13304fdd68a83da6087d92ee169c24ff9fd4776",
        "MobileNetV2 1.0 224 of ImageNet, for TensorFlow Lite",
        _GITHUB + "google-coral/test_data/raw/104342d2d3480b3e66203073dac24f4e2dbb4c41/"
        "mobilenet_v2_1.0_224_quant.tflite",
        3_610_798,
        "Apache-2.0",
    ),
    "vgg19": Weights(
        "vgg19_conv1-3_f16.npz",
        "136f66fafa5db2b8d1c01162d7b873c374d3bbadb7d276f9213ba2c3e7040e95",
        "VGG19 conv1_1 to conv3_4 in half precision",
        None,
        4_326_490,
        "CC BY 4.0",
    ),
    "mnist-lenet": Weights(
        "mnist_lenet.pth",
        "e4bed3817dd7723c605580e7b7393538a5dfc3508aacc4890b07e7f07c16bebf",
        "LeNet-5 of MNIST, of abdulfatir/gan-metrics-pytorch",
        _GITHUB + "abdulfatir/gan-metrics-pytorch/raw/c56c62bffd747943898ceb6f52a09c62407244c3/"
        "models/lenet.pth",
        248_652,
        "Apache-2.0",
    ),
    "efficientnet-b0": Weights(
        "efficientnet_b0_rwightman-7f5810bc.pth",
        "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
        "torchvision's EfficientNet-B0 of ImageNet",
        _TORCHVISION + "efficientnet_b0_rwightman-7f5810bc.pth",
        21_444_401,
        _BSD3,
    ),
}
"""The weights by the name that messages, `model fetch` and protocols give them."""
