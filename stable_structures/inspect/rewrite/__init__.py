# SPDX-License-Identifier: Apache-2.0
"""New images from old ones: `shrink`, `import`, `load`. What is read is never changed."""
