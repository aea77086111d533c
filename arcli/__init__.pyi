from arcli.api import Item as Item
from arcli.api import Run as Run
from arcli.api import load as load
from arcli.api import run as run

__version__: str
