DROP FUNCTION finish_answer(
    bigint, bigint, bigint, integer, text, text, text, text, bigint, text, integer, text, text, bigint, bigint, boolean,
    bigint, text, text, integer, text, text, bytea, integer, double precision, text, text[], text[], text, text, bytea, integer,
    double precision, text, text[], text[], timestamptz, date);
