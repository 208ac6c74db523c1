"""Make files of label embeddings with a local sentence-transformers model (extra ``[text]``).

Without ``--class-names`` the packaged vocabularies are remade, each with the prompt it was made with.

Examples:
    python experiments/make_label_embeddings.py --model models/all-MiniLM-L6-v2 --output vectors
    python experiments/make_label_embeddings.py --model models/all-MiniLM-L6-v2 --output vectors --class-names cat dog
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _bootstrap import find_package

find_package()

from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.label_embeddings.packaged import PACKAGED_VOCABULARIES, packaged_vectors  # noqa: E402
from dfkd.label_embeddings.text_encoder import describe_encoder, text_embeddings  # noqa: E402
from dfkd.label_embeddings.vectors import LabelVectors, write_vectors  # noqa: E402
from dfkd.settings.experiment import LabelEmbeddingSettings  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=Path, help="folder of the text encoder")
    parser.add_argument("--output", required=True, type=Path, help="folder for the files")
    parser.add_argument("--encoder", help="what the files call the encoder; default: the folder's name")
    parser.add_argument("--class-names", nargs="+", help="your own classes, in the order of their labels")
    parser.add_argument("--prompt", default=LabelEmbeddingSettings().prompt, help="for --class-names")
    parser.add_argument("--title", default="classes", help="first part of the file's name, for --class-names")
    return parser.parse_args()


def main() -> None:
    """Encode each vocabulary and write it with its provenance."""
    arguments = parse_arguments()
    with run_command(interrupted="interrupted: the files that were named are complete") as console:
        folder = arguments.model.expanduser().resolve()
        arguments.output.mkdir(parents=True, exist_ok=True)
        encoder = describe_encoder(folder, arguments.encoder or folder.name)
        for name, (prompt, class_names) in vocabularies(arguments).items():
            settings = LabelEmbeddingSettings(name="sentence_transformers", model=str(folder), prompt=prompt)
            embeddings = text_embeddings(settings, class_names)
            path = arguments.output / f"{name}-{folder.name.lower()}.safetensors"
            vectors = LabelVectors(embeddings=embeddings, class_names=class_names, encoder=encoder, prompt=prompt)
            write_vectors(path, vectors)
            console.show(f"{path}: {list(embeddings.shape)}, {encoder}")


def vocabularies(arguments: argparse.Namespace) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return prompt and class names by the first part of the file's name."""
    if arguments.class_names:
        return {arguments.title: (arguments.prompt, tuple(arguments.class_names))}
    packaged = {name: packaged_vectors(name) for name in PACKAGED_VOCABULARIES}
    return {name: (vectors.prompt, vectors.class_names or ()) for name, vectors in packaged.items()}


if __name__ == "__main__":
    main()
