# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501  # C code, in the lines that it has
"""Ways to get durability wrong, as changes of the C code: the crash simulator must notice each of them.

Each change names the text that it replaces, which must be there exactly once: a mutant that no longer fits the code is an error and no pass.
"""

from __future__ import annotations

from dataclasses import dataclass

WAL, LOG, DURABLE, FILE, READER, FOLLOW = "wal.c", "wal_read.c", "durable.c", "file.c", "reader.c", "wal_follow.c"


@dataclass(frozen=True)
class Mutant:
    """Changes of the code, and which test of native/tests must notice them, in which mode."""

    changes: tuple[tuple[str, str, str], ...]  # file, text, what takes its place
    mode: str = "full"
    test: str = "test_crash"


SYNC_IN_COMMIT = "    if (status == SS_OK && is_full(file)) status = sync_log(file);\n"
ACCEPT = """    if (status != SS_OK) return status;
    ss_wal_accept(&file->wal);
    for (size_t i = 0; i < count; i++) {
        ss_block_set_add(&file->pending, changes[i].block);
        ss_block_set_add(&file->logged, changes[i].block);
    }
"""
WHOLE_AT_ONCE = (DURABLE, "changes[i].before == NULL || !ss_block_set_has(&file->logged, changes[i].block);", "changes[i].before == NULL;")
LOGGED_FOR_EVER = (DURABLE, "    ss_block_set_clear(&file->logged);\n", "")
RENEW = "    status = ss_wal_renew(&file->wal, file->file_pages);\n"
LOG_READ_ONLY = "location->directory, location->name, 0, 0, &wal->file)"
LOG_WRITABLE = "location->directory, location->name, SS_OPEN_WRITE, 0, &wal->file)"
REWRITE = """    if (!*found) {
        status = ss_wal_renew(&file->wal, file->file_pages);
    } else {
        uint8_t block[4096];
        for (uint64_t at = 0; at < file->wal.position; at += 4096) {
            (void)ss_vfs_read_all(file->vfs, file->wal.file, block, 4096, at);
            (void)ss_vfs_write_bytes(file->vfs, file->wal.file, block, 4096, at);
        }
        status = ss_wal_sync(&file->wal);
    }
"""

MUTANTS = {
    "a commit does not sync the log": Mutant(((DURABLE, SYNC_IN_COMMIT, ""),)),
    "blocks reach the file before their record is synced": Mutant(
        (
            (DURABLE, SYNC_IN_COMMIT, ""),
            (DURABLE, ACCEPT, ACCEPT + "    (void)apply(file, 0);\n    if (sync_log(file) != SS_OK) return SS_COMMIT_UNKNOWN;\n"),
        ),
    ),
    "records are believed whatever their sum": Mutant(
        ((LOG, "return sum == record->sum ? check_pieces(reader, record) : SS_ABSENT;", "return check_pieces(reader, record);"),),
    ),
    "neither salt nor chain tell the generations apart": Mutant(
        (
            (
                WAL,
                "int error = ss_vfs_random(wal->location->vfs, &wal->salt, sizeof wal->salt);",
                "int error = 0;\n    wal->salt = 42;",
            ),
            (LOG, " || record->previous != wal->previous) return SS_ABSENT;", ") return SS_ABSENT;"),
        ),
    ),
    "records follow a header that is not synced": Mutant(
        (
            (
                WAL,
                "(wal->generation % 2) * BLOCK);\n    return status == SS_OK ? ss_wal_sync(wal) : status;",
                "(wal->generation % 2) * BLOCK);\n    return status;",
            ),
        ),
    ),
    "the log is emptied before the file is synced": Mutant(
        ((DURABLE, "    int status = ss_vfs_sync(file->vfs, file->main);\n", "    int status = 0;\n"),),
    ),
    "recovery trusts the log that it sees": Mutant(
        ((LOG, LOG_READ_ONLY, LOG_WRITABLE), (DURABLE, RENEW, "    if (!*found) status = ss_wal_renew(&file->wal, file->file_pages);\n")),
    ),
    "recovery syncs the log that it sees": Mutant(
        (
            (LOG, LOG_READ_ONLY, LOG_WRITABLE),
            (DURABLE, RENEW, "    status = *found ? ss_wal_sync(&file->wal) : ss_wal_renew(&file->wal, file->file_pages);\n"),
        ),
    ),
    "recovery writes the log again in its place": Mutant(((LOG, LOG_READ_ONLY, LOG_WRITABLE), (DURABLE, RENEW, REWRITE))),
    "a new log is renamed and the directory not synced": Mutant(
        (
            (
                WAL,
                '    if (error == 0) error = ss_vfs_sync_directory(location->vfs, location->directory);\n    return error == 0 ? SS_OK : ss_fail_errno(error, "putting',
                '    return error == 0 ? SS_OK : ss_fail_errno(error, "putting',
            ),
        ),
    ),
    "the file grows before the commit": Mutant(
        (
            (
                DURABLE,
                "    return ss_root_commit(file->root, new_pages * SS_PAGE_SIZE);\n}\n\nstatic void durable_shrink",
                "    (void)extend_to(file, new_pages);\n    return ss_root_commit(file->root, new_pages * SS_PAGE_SIZE);\n}\n\nstatic void durable_shrink",
            ),
        ),
    ),
    "records that were synced share blocks": Mutant(
        ((WAL, "    wal->position = ss_round_up(wal->position, BLOCK);\n    return SS_OK;", "    return SS_OK;"),), mode="normal"
    ),
    "records that are synced share blocks": Mutant(
        (
            (WAL, "    wal->position = ss_round_up(wal->position, BLOCK);\n    return SS_OK;", "    return SS_OK;"),
            (WAL, "length, full ? BLOCK : PACKING);", "length, PACKING);"),
            (WAL, "(whole <= SHORT_RECORD && !wal->direct_io_unsupported)", "(false)"),
        ),
    ),
    "a block is logged by differences before it is logged whole": Mutant((WHOLE_AT_ONCE,)),
    "a block is logged by differences before it is logged whole, mode normal": Mutant((WHOLE_AT_ONCE,), mode="normal"),
    "blocks that the last generation had are still thought to be in the log": Mutant((LOGGED_FOR_EVER,)),
    "blocks that the last generation had are still thought to be in the log, mode normal": Mutant((LOGGED_FOR_EVER,), mode="normal"),
    "there is one place for the header": Mutant(
        (
            (WAL, "block, BLOCK, (wal->generation % 2) * BLOCK);", "block, BLOCK, 0);"),
            (WAL, "put_header(to, blocks + (to->generation % 2) * BLOCK);", "put_header(to, blocks);"),
        ),
    ),
    "a new log is made in its place": Mutant(
        (
            (
                WAL,
                "    if (status == SS_OK) status = ss_wal_delete_temporary(location);\n",
                "    if (status == SS_OK) (void)ss_vfs_unlink(location->vfs, location->directory, location->name);\n",
            ),
            (WAL, "location->directory, location->temporary, SS_OPEN_WRITE", "location->directory, location->name, SS_OPEN_WRITE"),
            (
                WAL,
                "    int error = ss_vfs_rename(location->vfs, location->directory, location->temporary, location->name);\n    if (error == 0) error =",
                "    int error =",
            ),
        ),
    ),
    "a checkpoint in mode normal does not sync the log": Mutant(
        (
            (
                DURABLE,
                "    int status = is_full(file) ? SS_OK : sync_log(file);\n    if (status == SS_OK) status = apply(file, patience);",
                "    int status = apply(file, patience);",
            ),
            (
                DURABLE,
                "    int status = is_full(file) ? SS_OK : sync_log(file);\n    return status == SS_OK ? apply(file, CHECKPOINT_PATIENCE_MS) : status;\n",
                "    return apply(file, CHECKPOINT_PATIENCE_MS);\n",
            ),
        ),
        mode="normal",
    ),
    "a reader that settles a log does not sync the file": Mutant(
        (
            (
                DURABLE,
                '    int error = ss_vfs_sync(file->vfs, file->main);\n    if (error != 0) return ss_fail_errno(error, "making the file durable", 0);\n    /* Should',
                "    /* Should",
            ),
        ),
    ),
    "a copied log forgets the size that it began with": Mutant(
        ((WAL, "wal->sequence > 0 ? wal->base_pages : base_pages;", "base_pages;"),),
    ),
    "recovery sets the size of the file only where it seems wrong": Mutant(
        (
            (
                DURABLE,
                "    int error = ss_vfs_resize(file->vfs, file->main, file->wal.pages * SS_PAGE_SIZE);\n",
                "    int error = extend_to(file, file->wal.pages) == SS_OK ? 0 : 5;\n",
            ),
        ),
    ),
    "a record whose writing failed may stay": Mutant(
        (
            (
                WAL,
                "    int status = write_log(wal, zeros, length < sizeof zeros ? length : sizeof zeros, wal->position);\n",
                "    int status = SS_OK;\n    (void)zeros;\n    (void)length;\n",
            ),
        ),
    ),
    "a record whose writing failed may come back": Mutant(
        ((WAL, "    return gone ? ss_wal_sync(wal) : status;", "    return gone ? SS_OK : status;"),)
    ),
    "a record whose writing failed and could not be withdrawn counts as withdrawn": Mutant(
        (
            (
                WAL,
                "bool gone = status == SS_OK || (status == SS_OUT_OF_MEMORY && !begins_record(wal));",
                "(void)begins_record;\n    bool gone = true;",
            ),
        ),
    ),
    "a torn header of the next generation is called damage": Mutant(
        (
            (
                LOG,
                "    if (status != SS_OK || !wal->header_torn || wal->sequence > 0) return status;\n",
                '    if (wal->header_torn && wal->sequence > 0) status = ss_fail(SS_WAL_CORRUPT, "mutant", 0, 0, 0);\n    return status;\n',
            ),
        ),
    ),
    "a commit that failed is not rolled back": Mutant(
        (
            (
                "journal.c",
                "    } else {\n        roll_back(journal);\n    }\n    return status;",
                "    } else {\n        finish(journal);\n    }\n    return status;",
            ),
        ),
    ),
    "a damaged header hides the records of its generation": Mutant(
        (
            (
                LOG,
                "    if (status != SS_OK || !wal->header_torn || wal->sequence > 0) return status;\n",
                "    if (status != SS_BAD_MAGIC) return status;\n",
            ),
        ),
        test="test_damage",
    ),
    "a log is believed to be as long as its last record is thought to be": Mutant(
        ((WAL, "int error = ss_vfs_resize(wal->location->vfs, wal->file, wal->size);", "int error = 0;"),), test="test_damage"
    ),
    "a reader takes a damaged log for none": Mutant(
        ((READER, "*unsettled = !file->is_kept && ss_wal_exists(&file->location);", "*unsettled = false;"),),
        test="test_damage",
    ),
    "a reader goes on in a log that was emptied": Mutant(
        (
            (
                FOLLOW,
                "    int status = is_same_generation(follower->wal, same);\n    return",
                "    int status = SS_OK;\n    *same = true;\n    return",
            ),
        ),
        test="test_follow",
    ),
    "a reader keeps a record that was taken back": Mutant(
        ((FOLLOW, "has_last_record(follower, same) : status;", "SS_OK : status;\n    (void)has_last_record;"),), test="test_follow"
    ),
    "a reader puts over the file what the file has": Mutant(
        ((FOLLOW, "    if (record->flags & FLAG_SYNCED) return SS_OK;\n", ""),), test="test_follow"
    ),
    "a reader looks for the next record behind the last one only": Mutant(
        ((FOLLOW, " || (block != wal->position && begins_record(wal, block))", " || block == 1"),), test="test_follow"
    ),
    "a handle goes on after a sync that failed": Mutant(((FILE, "file->root->closed = true;", ""),), test="test_damage"),
    "records that follow a hole are looked for at blocks only": Mutant(
        ((LOG, "i + RECORD_TABLE <= length; i += PACKING)", "i + RECORD_TABLE <= length; i += BLOCK)"),), test="test_damage"
    ),
    "a hole before a synced record ends the log": Mutant(
        (
            (
                LOG,
                "    if (status == SS_ABSENT) status = check_nothing_follows(&reader, wal);\n",
                "    (void)check_nothing_follows;\n    if (status == SS_ABSENT) status = SS_OK;\n",
            ),
        ),
        test="test_damage",
    ),
}

# Changes that change nothing: here the simulator must find nothing, or it cries wolf.
EQUIVALENT = {
    "recovery syncs the file at once": Mutant(
        (
            (
                DURABLE,
                "        status = ss_wal_replay(&file->wal, file->main);\n",
                '        status = ss_wal_replay(&file->wal, file->main);\n        if (status == SS_OK && ss_vfs_sync(file->vfs, file->main) != 0) status = ss_fail_errno(5, "sync", 0);\n',
            ),
        ),
    ),
}
