"""Upload to the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import HfApi

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.hub import NAME


def push_to_hub(directory: str | Path, name: str, *, private: bool = False) -> str:
    """Upload an exported folder to a model of the hub, which is created if necessary; return its address.

    Args:
        directory: Folder from `export`.
        name: OWNER/MODEL.
        private: Whether a new model is private.

    Raises:
        ValueError: If `name` is not of this form.
        FileNotFoundError: If `directory` holds no model.
        ConnectionError: If the hub cannot be reached, or the user is not logged in.
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
    """Check the name of a model on the hub.

    Raises:
        ValueError: If it is not OWNER/MODEL.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"Expected the name of a model of the hub as OWNER/MODEL, got {name!r}.")
