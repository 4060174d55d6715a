"""The app's database, by SQLAlchemy."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

FOLDER = Path(__file__).resolve().parent.parent

engine = create_engine(f"sqlite:///{FOLDER / 'shop.sqlite3'}", connect_args={"timeout": 30})


class Base(DeclarativeBase):
    """All that is kept in the database."""


class Order(Base):
    """An order, and whether its customer was told of it."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    confirmed: Mapped[bool] = mapped_column(default=False)


def session() -> Iterator[Session]:
    """Lend a session to one request; what the request has not committed is rolled back."""
    with Session(engine) as lent:
        yield lent
