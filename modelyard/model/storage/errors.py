"""What can go wrong at a store.

StorageError
├── NotFound      there is no such object, folder, bucket or claim
├── Refused       the store says no, or cannot do it: retrying does not help
├── Unreachable   no answer, or a fault of the store: worth another try
│   └── Full      no room for more: worth another try when there is some
└── Changed       the object was replaced while it was read: another try reads the new one
"""

__all__ = ["Changed", "Full", "NotFound", "Refused", "StorageError", "Unreachable"]


class StorageError(OSError):
    """Something went wrong at a store; the message names the URI."""


class NotFound(StorageError, FileNotFoundError):
    """There is no such object."""


class Refused(StorageError):
    """The store refuses; a person must mend the URI, the credentials or the store."""


class Unreachable(StorageError):
    """The store did not answer; another try may succeed."""


class Full(Unreachable):
    """There is no room; somebody must make some, and another try succeeds."""


class Changed(StorageError):
    """The object was replaced while it was being read."""
