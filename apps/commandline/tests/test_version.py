from importlib.metadata import version

from discrete_diffusion.commandline import describe_versions


def test_versions_of_the_command_its_packages_and_libraries():
    first, *further = describe_versions("commandline").splitlines()
    assert first == f"commandline {version('discrete-diffusion-commandline')}"
    assert f"  hydra-core {version('hydra-core')}" in further
    assert further[-1].startswith("  python 3.")
