/*
 * Copyright (C) The Astro authors
 *
 * What the server said, as a file on this machine.
 */

export function saveAs(blob, name) {
    const a = document.createElement('a');

    a.href = URL.createObjectURL(blob);
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 60000);
}
