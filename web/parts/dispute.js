/*
 * Copyright (C) The Astro authors
 */

export function Dispute() { return null; }
