"""What the images are built from."""

import pytest

from tools.images import FLAVOURS, IMAGES, ROOT, content_hash, images_of


def test_the_flavours_differ_in_the_training_image_alone():
    cpu, gpu = images_of("cpu"), images_of("gpu")
    assert cpu == IMAGES
    assert [one.name for one, other in zip(cpu, gpu, strict=True) if one != other] == ["training"]
    [training] = [image for image in gpu if image.name == "training"]
    assert training.arguments == ("FLAVOUR=tensorflow-gpu",)
    hashes = {content_hash(image, "base") for image in (*cpu, training)}
    assert len(hashes) == len(cpu) + 1


@pytest.mark.parametrize("name", FLAVOURS.values())
def test_every_flavour_installs_the_same_versions_of_what_both_have(name: str):
    def pins(path: str) -> dict[str, str]:
        lines = (ROOT / "requirements" / path).read_text().splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    own, shared = pins(f"{name}.txt"), pins("training.txt")
    # the layer above leaves out what stands in this list, word for word
    assert {package for package in own if package in shared and own[package] != shared[package]} == set()


def test_the_images_with_tensorflow_share_the_layer_that_holds_it():
    def first_stage(path: str) -> str:
        text = (ROOT / path).read_text()
        return text[text.index("AS tensorflow") : text.index("FROM tensorflow")]

    assert first_stage("training_image/Containerfile") == first_stage("serving_image/Containerfile.tensorflow")
