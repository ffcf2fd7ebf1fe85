"""A folder onto the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import HfApi

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.hub import NAME


def push_to_hub(directory: str | Path, name: str, *, private: bool = False) -> str:
    """Upload an exported folder as a model of the hub, made if there is none; return its address.

    Args:
        directory: what `export` wrote.
        name: OWNER/MODEL.
        private: of a model that is made: nobody else sees it.

    Raises:
        ValueError: if `name` is no such name.
        FileNotFoundError: if `directory` holds no model.
        ConnectionError: if the hub is not reached or does not know who asks.
    """
    expect_hub_name(name)
    if not (Path(directory) / "config.json").is_file():
        raise FileNotFoundError(f"Expected an exported model in {directory}, but it has no config.json.")
    hub = HfApi()
    try:
        hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=directory, commit_message="Upload model")
    except Exception as error:
        # Without a network or an account it fails in as many ways as there are causes.
        reason = first_line(error)
        raise ConnectionError(
            f"{name} was not uploaded ({reason.rstrip('.')}): check the network, and log in with `hf auth login`. "
            f"The folder {directory} is complete."
        ) from error
    return f"https://huggingface.co/{name}"


def expect_hub_name(name: str) -> None:
    """Nothing, if a model of the hub can be called so.

    Raises:
        ValueError: if not.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"Expected the name of a model of the hub as OWNER/MODEL, got {name!r}.")
