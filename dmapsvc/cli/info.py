"""`dmapsvc info`: what a dataset or a case holds, locally or at a service; or what datasets a service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmapsvc.cli.output import (
    label_list,
    plural,
    print_fields,
    print_json,
    print_table,
    region_maxima,
    unit_word,
)
from dmapsvc.cli.served import asked_dataset

if TYPE_CHECKING:
    from dmapsvc.loader.source import CaseSource


def command(
    store: Annotated[
        str, typer.Argument(metavar="STORE|URL", help="A local dataset, its URL, or the URL of a service.")
    ],
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="Show this case.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a dataset and its cases, or one case's regions.

    For example:

    \b
        dmapsvc info knees.zarr
        dmapsvc info http://127.0.0.1:8000/v1/datasets/knees case_01 --json
    """
    if store.startswith(("http://", "https://")) and "/v1/datasets/" not in store:
        _service(store, as_json)
        return
    from dmapsvc.loader.source import open_source

    with asked_dataset(store):
        dataset = open_source(store, patience=0)
    if case is None:
        _dataset(dataset, as_json)
    else:
        _case(dataset, case, as_json)


def _service(server: str, as_json: bool) -> None:
    from dmapsvc.client import Client

    with Client(server) as client:
        datasets = client.datasets()
    if as_json:
        print_json(datasets)
        return
    specs = [(data, data["spec"]) for data in datasets]
    rows = [(data["name"], label_list(spec["labels"]), spec["units"], data["cases"]) for data, spec in specs]
    print_table(("dataset", "labels", "units", "cases"), rows)


def _dataset(dataset: CaseSource, as_json: bool) -> None:
    from dmapsvc.loader.remote.together import READERS, together

    cases = dataset.cases()
    records = together(dataset.record, cases, READERS)
    if as_json:
        summary = {"name": dataset.name, "spec": dataset.spec.to_json(), "names": dataset.names}
        print_json(
            {
                **summary,
                "cases": {case: record.to_json() for case, record in zip(cases, records, strict=True)},
            }
        )
        return
    spec = dataset.spec.to_json()
    names = {value: f"{value}={name}" for value, name in dataset.names.items()}
    print_fields(
        {
            "dataset": dataset.name,
            "labels": _labels(spec),
            "units": spec["units"],
            "names": list(names.values()),
            "cases": len(cases),
        }
    )
    if not cases:
        return
    print()
    distances = f"largest distances ({unit_word(dataset.spec.units)})"
    print_table(
        ("case", "shape z,y,x", "spacing mm", "image", distances, "backend", "revision"),
        [
            (
                case,
                record.shape,
                record.spacing,
                "yes" if record.image else "no",
                region_maxima(record.to_json()["regions"], dataset.names),
                record.backend,
                record.revision,
            )
            for case, record in zip(cases, records, strict=True)
        ],
    )


def _case(dataset: CaseSource, case: str, as_json: bool) -> None:
    record = dataset.record(case)
    data = record.to_json()
    if as_json:
        print_json({"name": case, **data})
        return
    unit = unit_word(record.spec.units)
    fields: dict[str, Any] = {
        "case": case,
        "shape z,y,x": record.shape,
        "spacing mm": record.spacing,
        "labels": _labels(data["spec"]),
        "units": record.spec.units,
        "absent labels": record.absent,
        "image": f"{record.image.dtype}, {plural(record.image.channels, 'channel')}"
        if record.image
        else None,
        "backend": record.backend,
        "revision": record.revision,
        "largest error": f"{record.quantisation.max_error:.4g} {unit} (of the stored 16-bit values)",
        "published": record.published,
        "mask sha256": record.mask_sha256,
    }
    print_fields(fields)
    print()
    print_table(
        ("value", "name", "voxels", f"largest distance ({unit})", f"mean Φ ({unit})"),
        [
            (
                region.value,
                "background" if region.value == 0 else dataset.names.get(region.value),
                region.voxels,
                "no boundary" if region.degenerate else region.maximum,
                region.mean_phi,
            )
            for region in record.regions
        ],
    )


def _labels(spec: dict[str, Any]) -> str:
    return "all" if spec["labels"] is None else ",".join(map(str, spec["labels"]))
